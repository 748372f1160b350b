"""Overlap metrics against loops over pixels: forms of input, weights, ignored pixels, classes."""

import numpy as np
import oracle_metrics as oracle
import pytest
from backend_tools import array
from metrics_cases import images

from kerasloss import metrics

pytestmark = pytest.mark.once

NAMES = [
    "dice_score",
    "iou_score",
    "precision",
    "recall",
    "specificity",
    "accuracy",
    "area_error",
]
SPACES = [(12, 11), (23,), (5, 6, 4)]
every_name = pytest.mark.parametrize("name", NAMES)


def call(name, y_true, y_pred, **options):
    """One value an image and class, whatever the default of the function."""
    return array(getattr(metrics, name)(y_true, y_pred, average=None, **options))


def check(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@every_name
@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("background", [False, True])
def test_value(name, space, channels, background):
    y_true, y_pred = images(channels, space=space)
    expected = oracle.per_image(
        getattr(oracle, name), y_true, y_pred, include_background=background
    )
    assert expected.shape == (7, max(2, channels) - (not background))
    check(call(name, y_true, y_pred, include_background=background), expected)


@every_name
def test_forms_of_the_target(name):
    y_true, y_pred = images(3)
    expected = call(name, y_true, y_pred)
    one_hot = np.eye(3, dtype="float32")[y_true]
    for target in (y_true[..., None], one_hot, 0.8 * one_hot + 0.2 / 3, y_true.astype("uint8")):
        check(call(name, target, y_pred), expected)


@every_name
@pytest.mark.parametrize("channels", [1, 3])
def test_logits(name, channels):
    y_true, y_pred = images(channels)
    p = y_pred.astype("float64")
    z = np.log(p) - (np.log1p(-p) if channels == 1 else 0.7)
    check(call(name, y_true, z.astype("float32"), from_logits=True), call(name, y_true, y_pred))


@every_name
def test_threshold_is_for_one_channel(name):
    y_true, y_pred = images(1)
    expected = oracle.per_image(getattr(oracle, name), y_true, y_pred, threshold=0.8)
    assert not np.allclose(expected, oracle.per_image(getattr(oracle, name), y_true, y_pred))
    check(call(name, y_true, y_pred, threshold=0.8), expected)
    y_true, y_pred = images(3)
    check(call(name, y_true, y_pred, threshold=0.8), call(name, y_true, y_pred))


def test_a_probability_at_the_threshold_is_background():
    y_true, y_pred = np.ones((1, 2)), np.full((1, 2, 1), 0.5)
    assert array(metrics.recall(y_true, y_pred))[0, 0] == 0
    assert array(metrics.recall(y_true, y_pred, threshold=0.49))[0, 0] == 1


@every_name
@pytest.mark.parametrize("channels", [1, 3])
def test_pixel_weights_are_inside_the_sums(name, channels):
    y_true, y_pred = images(channels)
    weight = np.random.default_rng(1).choice([0.0, 1.0, 2.5], size=y_true.shape).astype("float32")
    expected = oracle.per_image(getattr(oracle, name), y_true, y_pred, weight=weight)
    check(call(name, y_true, y_pred, sample_weight=weight), expected)
    check(call(name, y_true, y_pred, sample_weight=weight[..., None]), expected)


@every_name
@pytest.mark.parametrize("channels", [1, 3])
def test_ignored_pixels_count_nowhere(name, channels):
    y_true, y_pred = images(channels)
    ignored = np.random.default_rng(2).random(y_true.shape) < 0.3
    target = np.where(ignored, 255, y_true)
    expected = oracle.per_image(getattr(oracle, name), y_true, y_pred, weight=1.0 * ~ignored)
    actual = call(name, target, y_pred, ignore_class=255)
    check(actual, expected)
    wild = np.where(ignored[..., None], 1 - y_pred, y_pred)
    np.testing.assert_array_equal(call(name, target, wild, ignore_class=255), actual)


def test_an_ignored_class_is_not_scored():
    y_true, y_pred = images(3)
    expected = oracle.per_image(oracle.dice_score, y_true, y_pred, weight=1.0 * (y_true != 1))
    actual = array(metrics.dice_score(y_true, y_pred, ignore_class=1))
    assert actual.shape == (7, 1)
    check(actual[:, 0], expected[:, 1])
    metric = metrics.DiceScore(average=None, ignore_class=1)
    assert list(metric(y_true, y_pred)) == ["dice_score/2"]
    with pytest.raises(ValueError, match="include_background"):
        metrics.dice_score(y_true, images(1)[1], ignore_class=1)


@every_name
def test_macro_is_the_mean_over_the_classes(name):
    y_true, y_pred = images(3)
    mean = getattr(metrics, name)(y_true, y_pred, average="macro")
    check(array(mean), call(name, y_true, y_pred).mean(axis=-1))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_accuracy_is_the_share_of_right_pixels(channels):
    y_true, y_pred = images(channels)
    found = y_pred[..., 0] > 0.5 if channels == 1 else y_pred.argmax(axis=-1)
    weight = np.random.default_rng(3).random(y_true.shape).astype("float32")
    right = np.average(found == y_true, axis=(1, 2), weights=weight)
    check(array(metrics.accuracy(y_true, y_pred, sample_weight=weight)), right)
    plain = metrics.Accuracy(pool="dataset")(y_true, y_pred)
    check(float(plain), np.mean(found == y_true))


def test_absolute_area_error():
    y_true, y_pred = images(3)
    signed = call("area_error", y_true, y_pred)
    assert (signed < 0).any() and (signed > 0).any()
    check(call("area_error", y_true, y_pred, absolute=True), np.abs(signed))


@pytest.mark.parametrize("channels", [1, 3])
def test_cb_dice_score(channels):
    y_true, y_pred = images(channels)
    weight = np.random.default_rng(4).random(y_true.shape).astype("float32")
    check(array(metrics.cb_dice_score(y_true, y_pred)), oracle.cb_dice_score(y_true, y_pred))
    check(
        array(metrics.cb_dice_score(y_true, y_pred, sample_weight=weight)),
        oracle.cb_dice_score(y_true, y_pred, weight),
    )


def test_cb_dice_score_is_one_minus_the_loss():
    """Of a hard prediction that has every class that the target has, and no other."""
    import kerasloss

    y_true, y_pred = images(3, seed=20)
    y_true, hard = y_true[4:], np.eye(3, dtype="float32")[y_pred[4:].argmax(axis=-1)]
    assert all(len(np.unique(image)) == 3 for image in y_true)
    loss = array(kerasloss.cb_dice(y_true, hard, pool="image", smooth=0.0))
    check(array(metrics.cb_dice_score(y_true, hard)), 1 - loss)


def test_labels_that_do_not_exist_belong_to_no_class():
    y_true = np.array([[0, 1, 7, 7]])
    y_pred = np.eye(3)[[[0, 1, 1, 0]]]
    assert array(metrics.precision(y_true, y_pred))[0, 0] == 0.5
    background = array(metrics.precision(y_true, y_pred, include_background=True))[0, 0]
    assert background == 0.5


BAD = [
    ("average", "mean"),
    ("average", "micro"),
    ("pool", "batch"),
    ("threshold", 1.5),
    ("empty", "nan"),
    ("include_background", 1),
    ("from_logits", "yes"),
    ("ignore_class", 0.5),
]


@pytest.mark.parametrize(("option", "value"), BAD)
def test_bad_option_is_refused(option, value):
    y_true, y_pred = images(1)
    with pytest.raises(ValueError, match=option):
        metrics.DiceScore(**{option: value})
    if option != "pool":
        with pytest.raises(ValueError, match=option):
            metrics.dice_score(y_true, y_pred, **{option: value})


def test_bad_shape_is_refused():
    with pytest.raises(ValueError, match=r"dice_score.*y_true"):
        metrics.dice_score(np.zeros((2, 5, 5)), np.zeros((2, 4, 5, 3)))
