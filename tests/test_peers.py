"""The losses of other libraries, and ours with the options that give the same number.

This is `docs/coming_from.md` as tests. Keras is always there; the others are tested where they are
installed: `pip install --no-deps monai segmentation-models-pytorch medicai`, and, for the code from
before Keras 3, `segmentation-models keras-unet-collection`.
"""

import keras
import numpy as np
import pytest
from backend_tools import BACKEND
from cases import probabilities
from keras import ops
from peers import FOREGROUND, Z, alone, check, data, name, nothing, number

import kerasloss

# Raised by the peers themselves.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

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
    check(
        kerasloss.CrossEntropy(ignore_class=255, **Z)(labels, z[:1]), number(theirs(labels, z[:1]))
    )


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


def test_medicai_labels():
    losses = pytest.importorskip("medicai.losses")
    y_true, z = data(3)
    labels = y_true.argmax(-1).astype("int32")
    theirs = losses.SparseDiceLoss(num_classes=3, **Z)
    check(
        kerasloss.Dice(**EPS, **Z)(labels, z),
        number(theirs(ops.convert_to_tensor(labels), ops.convert_to_tensor(z))),
    )


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
    (1, "binary_focal_loss", {}, kerasloss.Focal(alpha=0.25)),
    (3, "categorical_focal_loss", {}, (0.25 / 3) * kerasloss.Focal()),
]


class NumPyBackend:
    """The part of the old `keras.backend` that those functions call."""

    mean, clip, log, pow, permute_dimensions = np.mean, np.clip, np.log, np.power, np.transpose
    image_data_format = staticmethod(lambda: "channels_last")
    epsilon = staticmethod(lambda: 1e-7)
    gather = staticmethod(lambda x, indexes: x[indexes])

    @staticmethod
    def sum(x, axis, keepdims=False):
        return np.sum(x, axis=tuple(np.atleast_1d(axis)), keepdims=keepdims)

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


# ---- empty masks --------------------------------------------------------------------------------


def test_empty_mask_predicted_empty():
    y_true, p, _ = nothing()
    check(kerasloss.Dice()(y_true, p), 0.0)
    assert number(keras.losses.dice(y_true, p)) == 1.0


def test_empty_mask_predicted_full():
    y_true, p, _ = nothing(1.0)
    assert number(kerasloss.Dice()(y_true, p)) > 0.99
    assert number(keras.losses.dice(y_true, p)) == 1.0


@pytest.mark.parametrize(("found", "expected"), [(0.0, 0.9961), (1.0, 1.0)])
def test_empty_mask_costs_all_in_medicai(found, expected):
    losses = pytest.importorskip("medicai.losses")
    y_true, p, _ = nothing(found)
    theirs = losses.BinaryDiceLoss(from_logits=False, num_classes=1)
    value = number(theirs(y_true, ops.convert_to_tensor(p)))
    np.testing.assert_allclose(value, expected, atol=1e-4)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="written in TensorFlow")
def test_empty_mask_in_keras_unet_collection():
    y_true, p, _ = nothing()
    assert number(alone("keras_unet_collection", "losses").dice(y_true, p)) == -np.inf
