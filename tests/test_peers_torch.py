"""The losses of MONAI and SMP, and ours with the options that give the same number.

Skipped where they are not installed; see `test_peers.py`.
"""

import numpy as np
import pytest
from cases import Case, probabilities
from peers import FOREGROUND, Z, alone, check, data, name, nothing, number

import kerasloss

# Raised by the peers themselves.
pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

# ---- MONAI --------------------------------------------------------------------------------------

ONE = {"sigmoid": True}
MANY = {"softmax": True}
ALL = {"include_background": True}


def smoothed(value):
    return {"smooth_nr": value, "smooth_dr": value}


MONAI = [
    (1, "DiceLoss", ONE, kerasloss.Dice(smooth=1e-5, **Z)),
    (3, "DiceLoss", MANY, kerasloss.Dice(smooth=1e-5, **Z)),
    (1, "DiceLoss", ONE | smoothed(1.0), kerasloss.Dice(**Z)),
    (
        3,
        "DiceLoss",
        MANY | smoothed(1.0) | {"include_background": False},
        kerasloss.Dice(class_weight=FOREGROUND, **Z),
    ),
    (3, "DiceLoss", MANY | smoothed(1.0) | {"batch": True}, kerasloss.Dice(pool="batch", **Z)),
    (
        3,
        "DiceLoss",
        MANY | smoothed(1.0) | {"squared_pred": True},
        kerasloss.Dice(squared=True, **Z),
    ),
    (3, "DiceLoss", MANY | smoothed(1.0) | {"jaccard": True}, kerasloss.IoU(smooth=0.5, **Z)),
    (
        3,
        "DiceLoss",
        MANY | smoothed(1.0) | {"jaccard": True, "squared_pred": True},
        kerasloss.JaccardDistance(smooth=0.5, **Z),
    ),
    (
        3,
        "DiceLoss",
        MANY | smoothed(1.0) | {"weight": [1.0, 2.0, 4.5]},
        2.5 * kerasloss.Dice(class_weight=(1.0, 2.0, 4.5), **Z),
    ),
    (
        3,
        "TverskyLoss",
        MANY | smoothed(1.0) | {"alpha": 0.2, "beta": 0.9},
        kerasloss.Tversky(alpha=0.2, beta=0.9, **Z),
    ),
    (1, "FocalLoss", {"gamma": 1.5}, kerasloss.Focal(gamma=1.5, **Z)),
    (1, "FocalLoss", {"alpha": 0.3}, kerasloss.Focal(alpha=0.3, **Z)),
    (3, "FocalLoss", {"use_softmax": True}, (1 / 3) * kerasloss.Focal(**Z)),
    (
        3,
        "FocalLoss",
        {"use_softmax": True, "alpha": 0.3},
        (1 / 3) * kerasloss.Focal(alpha=0.3, **Z),
    ),
    (3, "FocalLoss", {}, kerasloss.Multilabel(kerasloss.Focal(**Z))),
    (3, "GeneralizedDiceLoss", MANY | smoothed(0.0), kerasloss.GeneralizedDice(smooth=0.0, **Z)),
    (
        3,
        "GeneralizedDiceLoss",
        MANY | smoothed(0.0) | {"batch": True},
        kerasloss.GeneralizedDice(smooth=0.0, pool="batch", **Z),
    ),
    (1, "GeneralizedDiceLoss", ONE | smoothed(0.0), kerasloss.Dice(smooth=0.0, **Z)),
    (1, "MCCLoss", ONE | smoothed(0.0), kerasloss.MCC(smooth=0.0, **Z)),
    (3, "MCCLoss", MANY | smoothed(0.0), kerasloss.MCC(smooth=0.0, **Z)),
    (
        1,
        "SoftDiceclDiceLoss",
        ONE | {"iter_": 4, "alpha": 0.3, "smooth": 1e-9},
        kerasloss.CLDice(iterations=4, alpha=0.3, **Z),
    ),
    (
        1,
        "SoftclDiceLoss",
        ONE | {"iter_": 4, "smooth": 1e-9},
        kerasloss.CLDice(iterations=4, alpha=1.0, **Z),
    ),
    (1, "HausdorffDTLoss", ONE | ALL, kerasloss.Hausdorff(normalize=False, **Z)),
    (
        1,
        "HausdorffDTLoss",
        ONE | ALL | {"alpha": 1.5},
        kerasloss.Hausdorff(alpha=1.5, normalize=False, **Z),
    ),
    (
        3,
        "HausdorffDTLoss",
        MANY,
        kerasloss.Hausdorff(normalize=False, class_weight=FOREGROUND, **Z),
    ),
    (
        3,
        "HausdorffDTLoss",
        MANY | ALL,
        kerasloss.Hausdorff(normalize=False, **Z),
    ),
    (
        1,
        "DiceCELoss",
        ONE | smoothed(1.0) | {"lambda_ce": 0.5},
        kerasloss.Dice(**Z) + 0.5 * kerasloss.CrossEntropy(**Z),
    ),
    (3, "DiceCELoss", MANY | smoothed(1.0), kerasloss.Dice(**Z) + kerasloss.CrossEntropy(**Z)),
    (1, "DiceFocalLoss", ONE | smoothed(1.0), kerasloss.Dice(**Z) + kerasloss.Focal(**Z)),
]


def monai_value(peer, y_true, z, **options):
    losses = pytest.importorskip("monai.losses")
    torch = pytest.importorskip("torch")
    first = [torch.tensor(np.moveaxis(a, -1, 1)) for a in (z, y_true)]
    return float(getattr(losses, peer)(**options)(*first))


@pytest.mark.parametrize(("channels", "peer", "options", "ours"), MONAI, ids=name)
def test_monai(channels, peer, options, ours):
    y_true, z = data(channels)
    check(ours(y_true, z), monai_value(peer, y_true, z, **options))


def test_monai_soft_labels():
    y_true, z, _ = Case(3, target="soft", options=Z).data(seed=81)
    theirs = monai_value("DiceLoss", y_true, z, soft_label=True, **MANY, **smoothed(1.0))
    check(kerasloss.Dice(soft_labels=True, **Z)(y_true, z), theirs)


def test_monai_log_hausdorff_of_one_image():
    """MONAI takes the logarithm of the batch's mean, ours that of each image."""
    y_true, z = (a[:1] for a in data(1))
    ours = kerasloss.Hausdorff(normalize=False, log=True, **Z)
    check(ours(y_true, z), monai_value("LogHausdorffDTLoss", y_true, z, **ONE, **ALL))


@pytest.mark.parametrize("channels", [1, 3])
def test_monai_boundary_differs_by_a_constant(channels):
    """By what a perfect prediction costs there, so that the gradient is the same."""
    y_true, z = data(channels)
    options = ONE if channels == 1 else MANY
    theirs = monai_value("BoundaryLoss", y_true, z, **options)
    perfect = monai_value("BoundaryLoss", y_true, y_true)
    assert perfect < 0
    check(kerasloss.Boundary(normalize=False, **Z)(y_true, z), theirs - perfect, rtol=1e-4)


def test_monai_unified_focal():
    """Its focal half is divided by the two classes."""
    y_true, z = data(2)
    p = probabilities(z)
    theirs = monai_value("AsymmetricUnifiedFocalLoss", y_true, p, weight=0.5)
    check((3 / 4) * kerasloss.UnifiedFocal(weight=1 / 3, delta=0.7)(y_true, p), theirs)


@pytest.mark.parametrize("peer", ["DiceLoss", "TverskyLoss"])
def test_monai_ignored_label(peer):
    losses = pytest.importorskip("monai.losses")
    torch = pytest.importorskip("torch")
    y_true, z = data(3)
    labels = y_true.argmax(-1)
    labels[0, :4] = 255
    options = MANY | smoothed(1.0) | {"to_onehot_y": True, "ignore_index": 255}
    theirs = getattr(losses, peer)(**options)(
        torch.tensor(np.moveaxis(z, -1, 1)), torch.tensor(labels[:, None])
    )
    ours = {
        "DiceLoss": kerasloss.Dice,
        "TverskyLoss": lambda **o: kerasloss.Tversky(alpha=0.5, beta=0.5, **o),
    }
    check(ours[peer](ignore_class=255, **Z)(labels, z), float(theirs))


def test_monai_mask_is_a_weight():
    losses = pytest.importorskip("monai.losses")
    torch = pytest.importorskip("torch")
    y_true, z = data(1)
    mask = (np.random.default_rng(0).random(y_true.shape) > 0.3).astype("float32")
    first = [torch.tensor(np.moveaxis(a, -1, 1)) for a in (z, y_true, mask)]
    theirs = losses.MaskedDiceLoss(**ONE, **smoothed(1.0))(*first)
    check(kerasloss.Dice(**Z)(y_true, z, mask), float(theirs))


def test_monai_deep_supervision():
    losses = pytest.importorskip("monai.losses")
    torch = pytest.importorskip("torch")
    y_true, z = data(1, space=(16, 12))
    outputs = [z, z[:, ::2, ::2], z[:, ::4, ::4]]
    first = [torch.tensor(np.moveaxis(a, -1, 1)) for a in outputs]
    peer = losses.DeepSupervisionLoss(losses.DiceLoss(**ONE, **smoothed(1.0)))
    theirs = peer(first, torch.tensor(np.moveaxis(y_true, -1, 1)))
    ours = sum(
        number(kerasloss.AtResolution(kerasloss.Dice(**Z), weight=weight)(y_true, output))
        for weight, output in zip((1.0, 0.5, 0.25), outputs, strict=True)
    )
    np.testing.assert_allclose(ours, float(theirs), rtol=2e-5)


def test_empty_mask_in_monai():
    for found, expected in ((0.0, 0.0), (1.0, 1.0)):
        y_true, _, z = nothing(found)
        value = monai_value("DiceLoss", y_true, z, **ONE)
        np.testing.assert_allclose(value, expected, atol=1e-5)


# ---- segmentation_models.pytorch ----------------------------------------------------------------

BATCH = {"pool": "batch"} | Z

SMP = [
    (1, "DiceLoss", {"mode": "binary"}, kerasloss.Dice(smooth=0.0, **BATCH)),
    (1, "DiceLoss", {"mode": "binary", "smooth": 1.0}, kerasloss.Dice(smooth=2.0, **BATCH)),
    (3, "DiceLoss", {"mode": "multiclass", "smooth": 1.0}, kerasloss.Dice(smooth=2.0, **BATCH)),
    (
        3,
        "DiceLoss",
        {"mode": "multiclass", "classes": [1, 2]},
        kerasloss.Dice(smooth=0.0, class_weight=FOREGROUND, **BATCH),
    ),
    (
        3,
        "DiceLoss",
        {"mode": "multiclass", "class_weights": [1.0, 2.0, 4.0]},
        kerasloss.Dice(smooth=0.0, class_weight=(1.0, 2.0, 4.0), **BATCH),
    ),
    (3, "JaccardLoss", {"mode": "multiclass", "smooth": 1.0}, kerasloss.IoU(smooth=1.0, **BATCH)),
    (
        3,
        "TverskyLoss",
        {"mode": "multiclass", "alpha": 0.2, "beta": 0.9, "smooth": 1.0},
        kerasloss.Tversky(alpha=0.2, beta=0.9, smooth=1.0, **BATCH),
    ),
    (
        1,
        "TverskyLoss",
        {"mode": "binary", "alpha": 0.2, "beta": 0.9, "gamma": 0.75},
        kerasloss.FocalTversky(alpha=0.2, beta=0.9, gamma=0.75, smooth=0.0, **BATCH),
    ),
    (1, "FocalLoss", {"mode": "binary"}, kerasloss.Focal(**Z)),
    (1, "FocalLoss", {"mode": "binary", "alpha": 0.3}, kerasloss.Focal(alpha=0.3, **Z)),
    # Sigmoids, in spite of its name.
    (3, "FocalLoss", {"mode": "multiclass"}, kerasloss.Multilabel(kerasloss.Focal(**Z))),
    (1, "LovaszLoss", {"mode": "binary"}, kerasloss.Lovasz(**BATCH)),
    (1, "LovaszLoss", {"mode": "binary", "per_image": True}, kerasloss.Lovasz(**Z)),
    (3, "LovaszLoss", {"mode": "multiclass"}, kerasloss.Lovasz(**BATCH)),
    (3, "LovaszLoss", {"mode": "multiclass", "per_image": True}, kerasloss.Lovasz(**Z)),
    (1, "SoftBCEWithLogitsLoss", {}, kerasloss.CrossEntropy(**Z)),
    (
        1,
        "SoftBCEWithLogitsLoss",
        {"smooth_factor": 0.1},
        kerasloss.CrossEntropy(label_smoothing=0.2, **Z),
    ),
    (
        3,
        "SoftCrossEntropyLoss",
        {"smooth_factor": 0.1},
        kerasloss.CrossEntropy(label_smoothing=0.1, **Z),
    ),
]


def smp_value(peer, y_true, z, **options):
    torch = pytest.importorskip("torch")
    losses = alone("segmentation_models_pytorch", "losses")
    target = y_true.argmax(-1) if z.shape[-1] > 1 else np.moveaxis(y_true, -1, 1)
    loss = getattr(losses, peer)(**options)
    return float(loss(torch.tensor(np.moveaxis(z, -1, 1)), torch.tensor(target)))


@pytest.mark.parametrize(("channels", "peer", "options", "ours"), SMP, ids=name)
def test_smp(channels, peer, options, ours):
    y_true, z = data(channels)
    check(ours(y_true, z), smp_value(peer, y_true, z, **options))


def test_smp_mcc_takes_probabilities():
    y_true, z = data(1)
    p = probabilities(z)
    theirs = smp_value("MCCLoss", y_true, p, eps=0.0)
    check(kerasloss.MCC(smooth=0.0, pool="batch")(y_true, p), theirs)


def test_smp_soft_labels():
    y_true, z, _ = Case(1, target="soft", options=Z).data(seed=81)
    ours = kerasloss.Dice(smooth=0.0, soft_labels=True, **BATCH)
    check(ours(y_true, z), smp_value("DiceLoss", y_true, z, mode="binary"))


def test_smp_absent_class_costs_nothing():
    y_true, z = data(3)
    y_true = np.concatenate([y_true[..., :1] + y_true[..., 2:], y_true[..., 1:2]], axis=-1)
    y_true = np.pad(y_true, [(0, 0)] * 3 + [(0, 1)])
    theirs = smp_value("DiceLoss", y_true, z, mode="multiclass")
    ours = [
        number(kerasloss.Dice(smooth=0.0, class_weight=weight, **BATCH)(y_true, z))
        for weight in ((1, 1, 0), (0, 0, 1))
    ]
    assert ours[1] == 1.0
    np.testing.assert_allclose(theirs, 2 / 3 * ours[0], rtol=2e-5)


def test_smp_ignored_pixels_stay_in_the_mean():
    y_true, z = data(1)
    y_true[:, :8] = 255
    theirs = smp_value("SoftBCEWithLogitsLoss", y_true, z, ignore_index=255)
    ours = number(kerasloss.CrossEntropy(ignore_class=255, **Z)(y_true, z))
    np.testing.assert_allclose(theirs, ours / 2, rtol=2e-5)


def test_smp_half_precision_overflows():
    torch = pytest.importorskip("torch")
    losses = alone("segmentation_models_pytorch", "losses")
    ones = np.ones((1, 512, 512, 1), "float16")
    theirs = losses.DiceLoss("binary")(torch.tensor(9 * ones[..., 0]), torch.tensor(ones[..., 0]))
    assert np.isnan(float(theirs))
    assert number(kerasloss.Dice(**Z)(ones, 9 * ones)) < 1e-3


def test_smp_positive_weight():
    torch = pytest.importorskip("torch")
    y_true, z = data(1)
    theirs = smp_value("SoftBCEWithLogitsLoss", y_true, z, pos_weight=torch.tensor(3.0))
    check(kerasloss.WeightedCrossEntropy(positive_weight=3.0, **Z)(y_true, z), theirs)


@pytest.mark.parametrize("found", [0.0, 1.0])
def test_empty_mask_costs_nothing_in_smp(found):
    y_true, _, z = nothing(found)
    assert smp_value("DiceLoss", y_true, z, mode="binary") == 0.0
