"""Boundary and Hausdorff: published values, edges; maps made before training, of all that can."""

import cases
import keras
import numpy as np
import pytest
from backend_tools import array, grad
from cases import Case, twin
from keras import ops
from scipy import ndimage

import kerasloss

MAP_LOSSES = [loss for loss in cases.LOSSES if "precomputed" in cases.hyper_parameters(loss)]
with_unit = pytest.mark.parametrize(
    "loss",
    [loss for loss in MAP_LOSSES if "spacing" in cases.hyper_parameters(loss)],
    ids=lambda loss: loss.__name__,
)
every_map_loss = pytest.mark.parametrize("loss", MAP_LOSSES, ids=lambda loss: loss.__name__)

# Scene A of test_golden.py: an object of 2x2 pixels, in each of which the distance inside is 1.
A_TRUE = np.array([[[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]], "float32")
A_PRED = np.array(
    [[0.10, 0.20, 0.10, 0.05], [0.20, 0.80, 0.70, 0.30], [0.10, 0.90, 0.60, 0.20],
     [0.05, 0.10, 0.20, 0.10]], "float32"
)[None, ..., None]  # fmt: skip


def check(actual, expected):
    np.testing.assert_allclose(array(actual), expected, rtol=0, atol=2e-6)


def test_there_are_losses_with_maps():
    assert len(MAP_LOSSES) >= 3


# ---- published values ---------------------------------------------------------------------------


def test_boundary_of_kervadec():
    """phi is 0 inside, so nothing is subtracted; outside 1 beside the object, sqrt 2 in corners.

    .20 .10 .20 .10 .20 .10 .20 .30 beside it sum to 1.4, the corners to .30.
    """
    check(kerasloss.boundary(A_TRUE, A_PRED, normalize=False), [(1.4 + 0.3 * np.sqrt(2)) / 16])
    check(kerasloss.boundary(A_TRUE, A_PRED, normalize=False), [0.114017])
    check(kerasloss.boundary(A_TRUE, A_PRED), [0.114017 / np.sqrt(2)])


def test_boundary_differs_from_the_published_one_by_a_constant():
    """mean(phi * p) is negative for a good prediction of a deep object; its gradient is ours."""
    y_true = np.zeros((1, 9, 9), "float32")
    y_true[0, 2:8, 1:7] = 1
    phi = kerasloss.distance_maps(y_true, classes=1)
    y_pred = np.random.default_rng(0).random((1, 9, 9, 1)).astype("float32")
    published = (phi * y_pred).mean()
    constant = (phi * y_true[..., None]).mean()
    assert constant < -0.1
    check(kerasloss.boundary(y_true, y_pred, normalize=False), [published - constant])
    gradient = grad(lambda p: ops.sum(kerasloss.boundary(y_true, p, normalize=False)), y_pred)
    np.testing.assert_allclose(gradient, phi / 81, rtol=1e-5)


def test_hausdorff_of_karimi():
    check(kerasloss.hausdorff(A_TRUE, A_PRED, normalize=False), [0.078750])
    # Prediction and target have the same mask: each field is half of the sum.
    check(kerasloss.hausdorff(A_TRUE, A_PRED, normalize=False, one_sided=True), [0.078750 / 2])
    check(kerasloss.hausdorff(A_TRUE, A_PRED, normalize=False, log=True), [np.log1p(0.078750)])
    # All distances are 1 but those of the four corners: the weights sum to 2 * (12 + 4 * 2).
    check(kerasloss.hausdorff(A_TRUE, A_PRED), [0.078750 * 16 / 40])


@pytest.mark.parametrize("far", [5, 9])
def test_hausdorff_grows_with_the_distance_of_a_false_object(far):
    """A false pixel at distance d of the object costs 1 + d² (d_p is 1 on a single pixel)."""
    y_true = np.zeros((1, 12), "float32")
    y_true[0, 0] = 1
    y_pred = y_true.copy()[..., None]
    y_pred[0, far] = 1
    check(kerasloss.hausdorff(y_true, y_pred, normalize=False), [(far**2 + 1) / 12])


# ---- edges --------------------------------------------------------------------------------------


@every_map_loss
@pytest.mark.parametrize("value", [0.0, 1.0], ids=["empty", "full"])
def test_a_class_without_boundary_keeps_its_gradient(loss, value):
    """The published code gives such an image no gradient at all: false positives are free."""
    y_true = np.full((1, 8, 7), value, "float32")
    y_pred = np.full((1, 8, 7, 1), 0.4, "float32")
    gradient = grad(lambda p: ops.sum(twin(loss)(y_true, p)), y_pred)
    assert np.all(np.sign(gradient) == (1 if value == 0 else -1))


@with_unit
def test_normalized_value_is_at_most_one(loss):
    y_true, _, _ = Case(3).data(seed=60)
    wrong = np.eye(3, dtype="float32")[(y_true.astype(int) + 1) % 3]
    for truth in (y_true, np.zeros_like(y_true)):
        values = array(twin(loss)(truth, wrong))
        assert np.all(values > 0.05) and np.all(values <= 1)


@with_unit
def test_normalized_value_knows_no_unit(loss):
    y_true, y_pred, _ = Case(3).data(seed=61)
    expected = array(twin(loss)(y_true, y_pred))
    np.testing.assert_allclose(array(twin(loss)(y_true, y_pred, spacing=1e-6)), expected, rtol=1e-4)
    other = array(twin(loss)(y_true, y_pred, spacing=(1.0, 4.0)))
    assert np.all(abs(other - expected) > 1e-4)


# ---- maps made before training -------------------------------------------------------------------


def join(y_true, channels, options):
    made = {name: options[name] for name in ("spacing", "ignore_class") if name in options}
    return kerasloss.with_distance_maps(y_true, classes=channels, **made)


OPTIONS = [
    {},
    {"normalize": False},
    {"spacing": (0.5, 2.0)},
    {"kind": "image"},
    {"from_logits": True, "ignore_class": 255},
    {"class_weight": True},
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (loss, options)
        for loss in MAP_LOSSES
        for options in OPTIONS
        if set(options) <= set(cases.hyper_parameters(loss)) | cases.COMMON
    ],
    ids=str,
)
def test_precomputed_maps_change_nothing(loss, channels, options):
    case = Case(channels, options=options)
    y_true, y_pred, _ = case.data(seed=62)
    y_true[1] = 0  # and an image that lacks the other classes
    if "class_weight" in options:
        options = {"class_weight": (1.0, 3.0) if channels == 1 else (1.0, 0.0, 2.0)}
    joined = join(y_true, channels, options)
    assert joined.shape == (2, 8, 7, 1 + channels) and joined.dtype == np.float32
    expected = array(twin(loss)(y_true, y_pred, **options))
    assert np.all(expected > 0)
    actual = twin(loss)(joined, y_pred, precomputed=True, **options)
    np.testing.assert_allclose(array(actual), expected, rtol=1e-6)
    instance = loss(precomputed=True, reduction="none", **options)
    np.testing.assert_allclose(array(instance(joined, y_pred)), expected, rtol=1e-6)
    mean = loss(precomputed=True, **options)(joined, y_pred)
    np.testing.assert_allclose(array(mean), expected.mean(), rtol=1e-5)
    restored = type(instance).from_config(instance.get_config())
    assert restored.precomputed is True


@every_map_loss
def test_precomputed_maps_of_a_one_hot_target(loss):
    y_true, y_pred, _ = Case(3, target="one_hot").data(seed=63)
    joined = kerasloss.with_distance_maps(y_true, ignore_class=1)
    assert joined.shape == (2, 8, 7, 6)
    expected = array(twin(loss)(y_true, y_pred, ignore_class=1))
    actual = twin(loss)(joined, y_pred, precomputed=True, ignore_class=1)
    np.testing.assert_allclose(array(actual), expected, rtol=1e-6)


def test_precomputed_maps_where_a_class_fills_the_image():
    """Its map holds the diagonal, where the graph finds no boundary: neither gives it a rim."""
    y_true = np.stack([np.ones((8, 7), "int32"), np.zeros((8, 7), "int32")])
    y_pred = Case(1).data(seed=67)[1]
    joined = kerasloss.with_distance_maps(y_true, classes=1)
    for kind in ("object", "image"):
        expected = array(kerasloss.distance_map(y_true, y_pred, kind=kind))
        actual = array(kerasloss.distance_map(joined, y_pred, kind=kind, precomputed=True))
        np.testing.assert_allclose(actual, expected, rtol=1e-6)
        np.testing.assert_allclose(expected, array(kerasloss.cross_entropy(y_true, y_pred)), 1e-6)


@every_map_loss
def test_precomputed_maps_are_used(loss):
    y_true, y_pred, _ = Case(1).data(seed=64)
    joined = kerasloss.with_distance_maps(y_true, classes=1)
    expected = array(twin(loss)(joined, y_pred, precomputed=True))
    joined[..., 1] += np.random.default_rng(0).random(joined.shape[:-1])
    assert np.all(abs(array(twin(loss)(joined, y_pred, precomputed=True)) - expected) > 1e-4)


@every_map_loss
@pytest.mark.parametrize(("channels", "given"), [(1, 1), (1, 3), (3, 3), (3, 5)])
def test_wrong_number_of_channels_is_refused(loss, channels, given):
    y_true = np.zeros((2, 8, 7, given), "float32")
    y_pred = np.full((2, 8, 7, channels), 0.3, "float32")
    for call in (
        lambda: twin(loss)(y_true, y_pred, precomputed=True),
        lambda: loss(precomputed=True)(y_true, y_pred),
    ):
        with pytest.raises(ValueError, match="with_distance_maps") as error:
            call()
        assert str(y_true.shape) in str(error.value)


def test_maps_are_refused_without_precomputed():
    joined = kerasloss.with_distance_maps(A_TRUE, classes=1)
    with pytest.raises(ValueError, match="y_true"):
        kerasloss.boundary(joined, A_PRED)


def test_compound_shows_the_maps_only_to_those_that_take_them():
    y_true, y_pred, _ = Case(3).data(seed=65)
    joined = kerasloss.with_distance_maps(y_true, classes=3)
    terms = {"dice": kerasloss.Dice(), "ce": kerasloss.CrossEntropy(ignore_class=0)}

    def compound(precomputed):
        maps = {
            "edge": kerasloss.Boundary(precomputed=precomputed),
            "far": kerasloss.Hausdorff(precomputed=precomputed),
            "rim": kerasloss.DistanceMap(precomputed=precomputed),
        }
        return kerasloss.Compound(terms | maps)

    expected = array(compound(False)(y_true, y_pred))
    np.testing.assert_allclose(array(compound(True)(joined, y_pred)), expected, rtol=1e-6)
    expected = array(compound(False).values(y_true, y_pred))
    np.testing.assert_allclose(array(compound(True).values(joined, y_pred)), expected, rtol=1e-6)


def test_maps_against_scipy():
    labels = np.zeros((2, 9, 8), "int32")
    labels[0, 2:7, 3:6] = 2
    maps = kerasloss.distance_maps(labels, classes=3, spacing=(1.0, 0.5))
    assert maps.shape == (2, 9, 8, 3) and maps.dtype == np.float32
    inside = labels[0] == 2
    outer = ndimage.distance_transform_edt(~inside, sampling=(1.0, 0.5))
    inner = ndimage.distance_transform_edt(inside, sampling=(1.0, 0.5))
    np.testing.assert_allclose(maps[0, ..., 2], np.where(inside, 0.5 - inner, outer), rtol=1e-6)
    diagonal = np.hypot(9, 4)
    np.testing.assert_allclose(maps[:, ..., 1], diagonal, rtol=1e-6)  # absent
    np.testing.assert_allclose(maps[1, ..., 0], 0.5 - diagonal, rtol=1e-6)  # everywhere
    unsigned = kerasloss.distance_maps(labels, "unsigned", classes=3, spacing=(1.0, 0.5))
    np.testing.assert_allclose(unsigned[0, ..., 2], np.where(inside, inner, outer), rtol=1e-6)


@pytest.mark.parametrize(
    ("masks", "options", "word"),
    [
        (np.zeros((2, 8)), {}, "classes"),
        (np.zeros((2, 8, 7)), {"classes": 0}, "classes"),
        (np.zeros((2, 8, 7, 3, 3)), {"classes": 3}, "labels"),
        (np.zeros((2, 8, 7, 3)), {"ignore_class": 3}, "ignore_class"),
        (np.zeros((2, 8, 7)), {"classes": 1, "kind": "inner"}, "kind"),
        (np.zeros((2, 8, 7)), {"classes": 1, "spacing": (1.0, 2.0, 3.0)}, "spacing"),
    ],
)
def test_bad_masks_are_refused(masks, options, word):
    with pytest.raises(ValueError, match=word):
        kerasloss.distance_maps(masks, **options)


@pytest.mark.parametrize(
    ("loss", "name", "value"),
    [
        (loss, name, value)
        for loss in MAP_LOSSES
        for name, value in (
            ("normalize", 1), ("precomputed", "yes"), ("spacing", 0.0), ("spacing", "1"),
            ("spacing", ()),
        )
        if name in cases.hyper_parameters(loss)
    ],
)  # fmt: skip
def test_bad_option_is_refused(loss, name, value):
    with pytest.raises(ValueError, match=name):
        loss(**{name: value})


# ---- training -----------------------------------------------------------------------------------


class Anneal(keras.callbacks.Callback):
    """Weights assigned by a callback."""

    def __init__(self, loss, epochs):
        super().__init__()
        self.loss, self.epochs = loss, epochs

    def on_epoch_begin(self, epoch, logs=None):
        share = min(0.01 + 0.99 * epoch / self.epochs, 1.0)
        self.loss.assign(weights={"dice": 1.0 - 0.5 * share, "boundary": 0.5 * share})


@pytest.mark.parametrize("precomputed", [False, True])
def test_annealing_the_boundary_weight(precomputed):
    """The weight moves every epoch and the outline of a ragged square gets better."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    y = np.zeros((8, 12, 12, 1), "float32")
    y[:, 3:9, 4:10] = 1
    x = y + rng.normal(scale=0.4, size=y.shape).astype("float32")
    target = kerasloss.with_distance_maps(y) if precomputed else y
    head = keras.layers.Conv2D(
        1, 3, padding="same", activation="sigmoid", kernel_initializer="zeros"
    )
    model = keras.Sequential([keras.Input((12, 12, 1)), head])
    loss = kerasloss.Compound(
        {"dice": kerasloss.Dice(), "boundary": kerasloss.Boundary(precomputed=precomputed)},
        weights={"dice": 0.995, "boundary": 0.005},
    )
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss=loss)
    callbacks = [kerasloss.DynamicWeighting(), Anneal(loss, 5)]
    history = model.fit(x, target, epochs=6, batch_size=2, verbose=0, callbacks=callbacks).history
    expected = [0.005 + 0.495 * epoch / 5 for epoch in range(6)]
    np.testing.assert_allclose(history["weight/boundary"], expected, rtol=1e-5)
    np.testing.assert_allclose(history["weight/dice"], 1 - np.array(expected), rtol=1e-5)
    total = np.array(history["weight/dice"]) * history["dice"]
    total += np.array(history["weight/boundary"]) * history["boundary"]
    np.testing.assert_allclose(history["loss"], total, rtol=1e-4)
    assert history["boundary"][-1] < history["boundary"][0]
