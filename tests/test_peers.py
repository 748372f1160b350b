"""The losses of other libraries, and ours with the options that give the same number.

This is `docs/coming_from.md` as tests. Keras is always there; the others are tested where they are
installed: `pip install --no-deps monai segmentation-models-pytorch medicai`, and, for the code from
before Keras 3, `segmentation-models keras-unet-collection`.
"""

import importlib
import importlib.util
import sys
import types

import keras
import numpy as np
import pytest
from backend_tools import BACKEND, array
from cases import Case, probabilities
from keras import ops

import kerasloss

Z = {"from_logits": True}
FOREGROUND = (0, 1, 1)

# Raised by the peers themselves.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def data(channels, space=(16, 13)):
    """One-hot target and logits of two images, in which every class occurs."""
    y_true, z, _ = Case(channels, space=space, target="one_hot", options=Z).data(seed=80)
    assert np.all(y_true.sum(axis=tuple(range(1, y_true.ndim - 1))) > 0)
    return y_true, z


def check(ours, theirs, rtol=2e-5):
    np.testing.assert_allclose(array(ours), theirs, rtol=rtol, atol=1e-6)


def number(value):
    return float(array(ops.mean(ops.convert_to_tensor(value))))


def name(item):
    if isinstance(item, dict):
        return ",".join(f"{key}={value}" for key, value in item.items()) or "default"
    if isinstance(item, kerasloss.losses.SegmentationLoss):
        return type(item).__name__
    return str(item)


def alone(package, module):
    """A module of a package whose `__init__` would want more than is there."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    if package not in sys.modules:
        shell = types.ModuleType(package)
        shell.__path__ = list(spec.submodule_search_locations)
        sys.modules[package] = shell
    return importlib.import_module(f"{package}.{module}")


# ---- Keras --------------------------------------------------------------------------------------

KERAS = [
    (1, "BinaryCrossentropy", Z, kerasloss.CrossEntropy(**Z)),
    (
        1,
        "BinaryCrossentropy",
        {"label_smoothing": 0.2} | Z,
        kerasloss.CrossEntropy(label_smoothing=0.2, **Z),
    ),
    (3, "CategoricalCrossentropy", Z, kerasloss.CrossEntropy(**Z)),
    (
        3,
        "CategoricalCrossentropy",
        {"label_smoothing": 0.2} | Z,
        kerasloss.CrossEntropy(label_smoothing=0.2, **Z),
    ),
    (1, "BinaryFocalCrossentropy", {"gamma": 1.5} | Z, kerasloss.Focal(gamma=1.5, **Z)),
    (
        1,
        "BinaryFocalCrossentropy",
        {"apply_class_balancing": True, "alpha": 0.3} | Z,
        kerasloss.Focal(alpha=0.3, **Z),
    ),
    (3, "CategoricalFocalCrossentropy", Z, 0.25 * kerasloss.Focal(**Z)),
    (
        3,
        "CategoricalFocalCrossentropy",
        {"alpha": [0.2, 0.3, 0.7]} | Z,
        0.4 * kerasloss.Focal(class_weight=(0.2, 0.3, 0.7), **Z),
    ),
]


@pytest.mark.parametrize(("channels", "peer", "options", "ours"), KERAS, ids=name)
def test_keras(channels, peer, options, ours):
    y_true, z = data(channels)
    theirs = getattr(keras.losses, peer)(**options)
    check(ours(y_true, z), number(theirs(y_true, z)))


def test_keras_ignored_class_of_one_image():
    """Keras takes the mean over the pixels of the batch; ours over those of each image first."""
    y_true, z = data(3)
    labels = y_true.argmax(-1)[:1]
    labels[0, :4] = 255
    theirs = keras.losses.SparseCategoricalCrossentropy(ignore_class=255, **Z)
    check(kerasloss.CrossEntropy(ignore_class=255, **Z)(labels, z[:1]), number(theirs(labels, z[:1])))


@pytest.mark.parametrize(
    ("channels", "axis", "pool"), [(1, None, "batch"), (1, (1, 2), "image"), (3, (1, 2), "image")]
)
def test_keras_dice(channels, axis, pool):
    y_true, z = data(channels)
    p = probabilities(z)
    theirs = keras.losses.dice(y_true, p, axis=axis)
    check(kerasloss.Dice(smooth=0.0, pool=pool)(y_true, p), number(theirs))


def test_keras_tversky_has_its_weights_swapped():
    """Up to 3.15.1 `alpha` weighs the misses, against its documentation; repaired after that."""
    y_true, z = data(1)
    p = probabilities(z)
    theirs = number(keras.losses.tversky(y_true, p, alpha=0.2, beta=0.8, axis=(1, 2)))
    swapped = kerasloss.Tversky(alpha=0.8, beta=0.2, smooth=0.0)(y_true, p)
    documented = kerasloss.Tversky(alpha=0.2, beta=0.8, smooth=0.0)(y_true, p)
    version = tuple(int(part) for part in keras.__version__.split(".")[:3] if part.isdigit())
    if version <= (3, 15, 1):
        check(swapped, theirs)
    else:
        same = [np.isclose(number(ours), theirs, rtol=1e-4) for ours in (swapped, documented)]
        assert same.count(True) == 1


# ---- MONAI --------------------------------------------------------------------------------------

ONE = {"sigmoid": True}
MANY = {"softmax": True}


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
    (1, "HausdorffDTLoss", ONE, kerasloss.Hausdorff(normalize=False, **Z)),
    (1, "HausdorffDTLoss", ONE | {"alpha": 1.5}, kerasloss.Hausdorff(alpha=1.5, normalize=False, **Z)),
    (3, "HausdorffDTLoss", MANY, kerasloss.Hausdorff(normalize=False, class_weight=FOREGROUND, **Z)),
    (
        3,
        "HausdorffDTLoss",
        MANY | {"include_background": True},
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


def test_monai_log_hausdorff_of_one_image():
    """MONAI takes the logarithm of the batch's mean, ours that of each image."""
    y_true, z = (a[:1] for a in data(1))
    ours = kerasloss.Hausdorff(normalize=False, log=True, **Z)
    check(ours(y_true, z), monai_value("LogHausdorffDTLoss", y_true, z, **ONE))


@pytest.mark.parametrize("channels", [1, 3])
def test_monai_boundary_differs_by_a_constant(channels):
    """By what a perfect prediction costs there, so that the gradient is the same."""
    y_true, z = data(channels)
    options = ONE if channels == 1 else MANY
    theirs = monai_value("BoundaryLoss", y_true, z, **options)
    perfect = monai_value("BoundaryLoss", y_true, y_true)
    assert perfect < -0.1
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
    ours = {"DiceLoss": kerasloss.Dice, "TverskyLoss": lambda **o: kerasloss.Tversky(alpha=0.5, beta=0.5, **o)}
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


def test_smp_positive_weight():
    torch = pytest.importorskip("torch")
    y_true, z = data(1)
    theirs = smp_value("SoftBCEWithLogitsLoss", y_true, z, pos_weight=torch.tensor(3.0))
    check(kerasloss.WeightedCrossEntropy(positive_weight=3.0, **Z)(y_true, z), theirs)


# ---- medicai ------------------------------------------------------------------------------------

EPS = {"smooth": 1e-7}

MEDICAI = [
    (1, "BinaryDiceLoss", {}, kerasloss.Dice(**EPS, **Z)),
    (3, "CategoricalDiceLoss", {}, kerasloss.Dice(**EPS, **Z)),
    (
        3,
        "CategoricalDiceLoss",
        {"target_class_ids": [1, 2]},
        kerasloss.Dice(class_weight=FOREGROUND, **EPS, **Z),
    ),
    (3, "BinaryDiceLoss", {}, kerasloss.Multilabel(kerasloss.Dice(**EPS, **Z))),
    (1, "BinaryIoULoss", {}, kerasloss.IoU(**EPS, **Z)),
    (3, "CategoricalIoULoss", {}, kerasloss.IoU(**EPS, **Z)),
    (
        3,
        "CategoricalTverskyLoss",
        {"alpha": 0.2, "beta": 0.9},
        kerasloss.Tversky(alpha=0.2, beta=0.9, **EPS, **Z),
    ),
    (3, "CategoricalGeneralizedDiceLoss", {}, kerasloss.GeneralizedDice(**EPS, **Z)),
    (
        1,
        "BinaryCenterlineDiceLoss",
        {"iters": 4},
        kerasloss.CLDice(alpha=1.0, iterations=4, **EPS, **Z),
    ),
    (
        1,
        "BinaryDiceCELoss",
        {"ce_weight": 0.5},
        kerasloss.Dice(**EPS, **Z) + 0.5 * kerasloss.CrossEntropy(**Z),
    ),
    (
        3,
        "CategoricalDiceCELoss",
        {},
        kerasloss.Dice(**EPS, **Z) + (1 / 3) * kerasloss.CrossEntropy(**Z),
    ),
]


@pytest.mark.parametrize(("channels", "peer", "options", "ours"), MEDICAI, ids=name)
def test_medicai(channels, peer, options, ours):
    losses = pytest.importorskip("medicai.losses")
    y_true, z = data(channels)
    theirs = getattr(losses, peer)(num_classes=channels, **options, **Z)
    check(ours(y_true, z), number(theirs(ops.convert_to_tensor(y_true), ops.convert_to_tensor(z))))


# ---- code from before Keras 3 -------------------------------------------------------------------

SM = [
    (1, "f_score", {}, kerasloss.Dice(smooth=1e-5, pool="batch")),
    (3, "f_score", {"per_image": True}, kerasloss.Dice(smooth=1e-5)),
    (
        3,
        "f_score",
        {"class_indexes": [1, 2], "smooth": 1.0},
        kerasloss.Dice(class_weight=FOREGROUND, pool="batch"),
    ),
    (
        1,
        "f_score",
        {"beta": 2, "smooth": 1.0},
        kerasloss.Tversky(alpha=0.2, beta=0.8, smooth=0.2, pool="batch"),
    ),
    (3, "iou_score", {"smooth": 1.0}, kerasloss.IoU(pool="batch")),
    (1, "binary_crossentropy", {}, kerasloss.CrossEntropy()),
    (3, "categorical_crossentropy", {}, (1 / 3) * kerasloss.CrossEntropy()),
    (1, "binary_focal_loss", {}, 0.25 * kerasloss.Focal()),
    (3, "categorical_focal_loss", {}, (0.25 / 3) * kerasloss.Focal()),
]


class NumPyBackend:
    """The part of the old `keras.backend` that those functions call."""

    sum, mean, clip, log, pow = np.sum, np.mean, np.clip, np.log, np.power
    permute_dimensions, gather = np.transpose, np.take
    image_data_format = staticmethod(lambda: "channels_last")
    epsilon = staticmethod(lambda: 1e-7)
    gather = staticmethod(lambda x, indexes: x[indexes])

    @staticmethod
    def binary_crossentropy(gt, pr):
        return -gt * np.log(pr) - (1 - gt) * np.log(1 - pr)


@pytest.mark.parametrize(("channels", "peer", "options", "ours"), SM, ids=name)
def test_segmentation_models(channels, peer, options, ours):
    functional = alone("segmentation_models", "base.functional")
    y_true, z = data(channels)
    p = probabilities(z).astype("float64")
    theirs = getattr(functional, peer)(y_true, p, backend=NumPyBackend, **options)
    check(ours(y_true, p), 1 - theirs if peer.endswith("score") else theirs)


KUC = [
    ("dice", {}, kerasloss.Dice(smooth=0.0, pool="batch")),
    ("tversky", {"alpha": 0.8}, kerasloss.Tversky(alpha=0.2, beta=0.8, smooth=0.0, pool="batch")),
    (
        "focal_tversky",
        {"alpha": 0.8, "gamma": 4 / 3},
        kerasloss.FocalTversky(alpha=0.2, beta=0.8, gamma=0.75, smooth=0.0, pool="batch"),
    ),
    ("iou_seg", {}, kerasloss.IoU(smooth=0.0, pool="batch")),
]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="written in TensorFlow")
@pytest.mark.parametrize(("peer", "options", "ours"), KUC, ids=name)
def test_keras_unet_collection(peer, options, ours):
    losses = alone("keras_unet_collection", "losses")
    y_true, z = data(1)
    p = probabilities(z)
    check(ours(y_true, p), number(getattr(losses, peer)(y_true, p, **options)))


# ---- where they differ --------------------------------------------------------------------------


def nothing(found=0.0):
    """An empty target, and a prediction of that probability everywhere, as logits and not."""
    y_true = np.zeros((1, 16, 16, 1), "float32")
    p = np.full_like(y_true, found)
    return y_true, p, np.where(p > 0.5, 100.0, -100.0).astype("float32")


def test_empty_mask_predicted_empty():
    y_true, p, z = nothing()
    check(kerasloss.Dice()(y_true, p), 0.0)
    assert number(keras.losses.dice(y_true, p)) == 1.0
    assert monai_value("DiceLoss", y_true, z, **ONE) == 0.0
    assert smp_value("DiceLoss", y_true, z, mode="binary") == 0.0


def test_empty_mask_predicted_empty_by_medicai():
    losses = pytest.importorskip("medicai.losses")
    y_true, p, _ = nothing()
    theirs = losses.BinaryDiceLoss(from_logits=False, num_classes=1)
    assert number(theirs(y_true, ops.convert_to_tensor(p))) > 0.99


def test_empty_mask_predicted_full():
    y_true, p, z = nothing(1.0)
    assert number(kerasloss.Dice()(y_true, p)) > 0.99
    assert number(keras.losses.dice(y_true, p)) == 1.0
    assert monai_value("DiceLoss", y_true, z, **ONE) > 0.99
    assert smp_value("DiceLoss", y_true, z, mode="binary") == 0.0
