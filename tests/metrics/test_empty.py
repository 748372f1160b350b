"""One policy for empty masks: the table of `docs/empty_masks.md`, for every metric."""

import numpy as np
import pytest
from backend_tools import array
from metrics_cases import CLASSES, IN_GRAPH, arguments, images, twin

from kerasloss import metrics

pytestmark = pytest.mark.once

BLOB = np.zeros((6, 8), bool)
BLOB[2:4, 3:6] = True
NOTHING = np.zeros((6, 8), bool)
PIXELS = BLOB.size
COMBINATIONS = {
    "both": (BLOB, BLOB),
    "neither": (NOTHING, NOTHING),
    "missed": (BLOB, NOTHING),
    "invented": (NOTHING, BLOB),
}

SCORES = {"both": 1.0, "neither": 1.0, "missed": 0.0, "invented": 0.0}
DISTANCES = {"both": 0.0, "neither": 0.0, "missed": 10.0, "invented": 10.0}
# What the formula itself gives stands.
OWN = {
    "Specificity": {"both": 1.0, "neither": 1.0, "missed": 1.0, "invented": 1 - 6 / PIXELS},
    "Accuracy": {"both": 1.0, "neither": 1.0, "missed": 1 - 6 / PIXELS, "invented": 1 - 6 / PIXELS},
    "AreaError": {"both": 0.0, "neither": 0.0, "missed": -1.0, "invented": 1.0},
    # Only the foreground's weight, 42/48 of the whole, is lost on what is missed.
    "CBDiceScore": {
        "both": 1.0,
        "neither": 1.0,
        "missed": (6 / PIXELS) * 2 * 42 / (42 + 48),
        "invented": 0.0,
    },
    "HausdorffDistance": DISTANCES,
    "AverageSurfaceDistance": DISTANCES,
}
every_combination = pytest.mark.parametrize("combination", COMBINATIONS)


def batch(combination, channels=1):
    truth, predicted = COMBINATIONS[combination]
    return truth[None].astype("int32"), np.eye(2)[predicted.astype(int)][None, ..., -channels:]


def options(metric):
    return {"average": None} if "average" in arguments(metric) else {}


@every_combination
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("metric", IN_GRAPH)
def test_table(metric, combination, channels):
    y_true, y_pred = batch(combination, channels)
    expected = OWN.get(metric.__name__, SCORES)[combination]
    value = array(twin(metric)(y_true, y_pred, **options(metric)))
    np.testing.assert_allclose(value.ravel(), [expected], rtol=1e-6)
    for pool in ("image", "dataset") if "pool" in arguments(metric) else (None,):
        object_ = metric() if pool is None else metric(pool=pool)
        np.testing.assert_allclose(float(object_(y_true, y_pred)), expected, rtol=1e-6)


@every_combination
def test_table_of_objects(combination):
    expected = SCORES[combination]
    y_true, y_pred = batch(combination)
    scores = metrics.object_scores(y_true, y_pred)
    for name in ("precision", "recall", "f1", "ap"):
        assert scores[name].tolist() == [[expected]]
    assert metrics.average_precision(y_true, y_pred).tolist() == [[[expected] * 10]]
    result = metrics.ObjectScores()(y_true, y_pred)
    assert {float(value) for value in result.values()} == {expected}


def test_the_worst_distance_is_in_the_unit_of_spacing():
    y_true, y_pred = batch("missed")
    value = metrics.hausdorff_distance(y_true, y_pred, spacing=(0.5, 3.0))
    np.testing.assert_allclose(array(value), [[np.hypot(6 * 0.5, 8 * 3.0)]], rtol=1e-6)


@every_combination
def test_a_full_target(combination):
    """Specificity has nothing to divide by where the target is full."""
    truth, predicted = COMBINATIONS[combination]
    y_true, y_pred = 1 - 0 * truth[None].astype(int), (1.0 - predicted)[None, ..., None]
    expected = 1.0 if not predicted.any() else 0.0
    assert array(metrics.specificity(y_true, y_pred)).tolist() == [[expected]]


# ---- skip ---------------------------------------------------------------------------------------


@every_combination
@pytest.mark.parametrize("metric", [m for m in CLASSES if m is not metrics.CBDiceScore])
def test_skip_leaves_out_images_whose_target_lacks_the_class(metric, combination):
    y_true, y_pred = batch(combination)
    left_out = combination in ("neither", "invented")
    how = options(metric) | {"empty": "skip"}
    if metric is metrics.ObjectScores:
        value = metrics.object_scores(y_true, y_pred, empty="skip")["f1"]
    else:
        value = array(twin(metric)(y_true, y_pred, **how))
    assert np.isnan(value).tolist() == [[left_out]]
    streamed = metric(**how)
    streamed.update_state(y_true, y_pred)
    assert streamed.skipped == {1: int(left_out)}
    assert [np.isnan(float(v)) for v in streamed.result().values()].count(not left_out) == 0


@pytest.mark.parametrize("metric", [m for m in IN_GRAPH if m is not metrics.CBDiceScore])
def test_skip_is_the_mean_over_the_other_images(metric):
    """Class by class: image 1 lacks both classes, image 2 the second."""
    y_true, y_pred = images(3)
    has = np.array([[(image == c).any() for c in (1, 2)] for image in y_true])
    assert not has[1].any() and has[2].tolist() == [True, False]
    every = array(twin(metric)(y_true, y_pred, average=None))
    streamed = metric(empty="skip", average=None)
    result = [float(value) for value in streamed(y_true, y_pred).values()]
    expected = [every[has[:, c], c].mean() for c in range(2)]
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    assert streamed.skipped == {1: int((~has[:, 0]).sum()), 2: int((~has[:, 1]).sum())}
    macro = metric(empty="skip", average="macro")
    np.testing.assert_allclose(float(macro(y_true, y_pred)), np.mean(expected), rtol=1e-5)
    mean = array(twin(metric)(y_true, y_pred, average="macro", empty="skip"))
    np.testing.assert_allclose(mean[2], every[2, 0], rtol=1e-6)
    assert np.isnan(mean[1])


def test_skip_pools_no_pixel_of_an_image_that_is_left_out():
    both, invented = batch("both"), batch("invented")
    y_true, y_pred = (np.concatenate(pair) for pair in zip(both, invented, strict=True))
    assert float(metrics.DiceScore(pool="dataset")(y_true, y_pred)) == np.float32(12 / 18)
    skipping = metrics.DiceScore(pool="dataset", empty="skip")
    assert float(skipping(y_true, y_pred)) == 1
    assert skipping.skipped == {1: 1}


def test_skip_of_classes_within_an_image():
    y_true, y_pred = batch("invented")
    background = 2 * 42 / (42 + 48)
    for pool in ("image", "dataset"):
        metric = metrics.CBDiceScore(empty="skip", pool=pool)
        np.testing.assert_allclose(float(metric(y_true, y_pred)), background, rtol=1e-6)


# ---- nothing to count ---------------------------------------------------------------------------


@pytest.mark.parametrize("metric", IN_GRAPH)
@pytest.mark.parametrize("how", ["ignored", "pixels without weight", "image without weight"])
def test_an_image_without_a_counted_pixel_counts_nowhere(metric, how):
    y_true, y_pred = images(3)
    kept = np.array([0, 2, 4, 5, 6])
    ignore, weight = None, None
    target = y_true.copy()
    if how == "ignored":
        ignore, target[[1, 3]] = 255, 255
    elif how == "image without weight":
        weight = np.isin(np.arange(7), kept).astype("float32")
    else:
        weight = np.ones(y_true.shape, "float32")
        weight[[1, 3]] = 0
    values = twin(metric)(target, y_pred, sample_weight=weight, ignore_class=ignore)
    assert np.isnan(array(values)[[1, 3]]).all() and not np.isnan(array(values)[kept]).any()
    for pool in ("image", "dataset") if "pool" in arguments(metric) else (None,):
        more = {} if pool is None else {"pool": pool}
        streamed = metric(ignore_class=ignore, **more)
        expected = metric(ignore_class=ignore, **more)(target[kept], y_pred[kept])
        actual = streamed(target, y_pred, sample_weight=weight)
        np.testing.assert_allclose(float(actual), float(expected), rtol=1e-5)
        assert set(streamed.skipped.values()) == {0 if how == "image without weight" else 2}


@pytest.mark.parametrize("metric", IN_GRAPH)
def test_a_mean_over_nothing_is_nan(metric):
    assert np.isnan(float(metric().result()))
    y_true, y_pred = images(1)
    only_ignored = metric(ignore_class=255)
    assert np.isnan(float(only_ignored(np.full_like(y_true, 255), y_pred)))
    assert metric().skipped == {}
