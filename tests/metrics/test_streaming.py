"""Metrics as Keras sees them: batches of any size, weights, compiled steps, configs, files."""

import inspect
import json

import keras
import metrics_cases
import numpy as np
import pytest
from backend_tools import BACKEND, array, jit
from metrics_cases import CLASSES, IN_GRAPH, arguments, images, twin

import kerasloss
from kerasloss import metrics

# Keras turns variables into NumPy with np.array(tensor), which NumPy 2 answers with a warning.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

every_metric = pytest.mark.parametrize("metric", CLASSES)
every_in_graph = pytest.mark.parametrize("metric", IN_GRAPH)
pooled = pytest.mark.parametrize("metric", [m for m in IN_GRAPH if "pool" in arguments(m)])


def numbers(result):
    result = result if isinstance(result, dict) else {"": result}
    return {name: float(value) for name, value in result.items()}


def streamed(metric, y_true, y_pred, sizes, weight=None):
    start = 0
    for size in sizes:
        part = slice(start, start + size)
        metric.update_state(y_true[part], y_pred[part], None if weight is None else weight[part])
        start += size
    return numbers(metric.result())


def per_class(metric, y_true, y_pred, **options):
    if "average" in arguments(metric):
        options["average"] = None
    return array(twin(metric)(y_true, y_pred, **options)).reshape(len(y_true), -1)


def test_there_are_metrics():
    assert len(CLASSES) >= 14
    assert metrics.ObjectScores in CLASSES


# ---- streaming ----------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize(
    ("metric", "options"),
    [(metric, {}) for metric in CLASSES]
    + [(metric, {"pool": "dataset"}) for metric in IN_GRAPH if "pool" in arguments(metric)],
)
def test_any_batches_give_the_same(metric, options):
    y_true, y_pred = images(3)
    weight = np.array([1, 0.5, 3, 0, 2, 1, 1], "float32")
    whole = streamed(metric(**options), y_true, y_pred, [7], weight)
    assert not np.isnan(list(whole.values())).any()
    order = np.array([4, 2, 6, 0, 1, 5, 3])
    for sizes in ([1] * 7, [3, 3, 1]):
        actual = streamed(metric(**options), y_true[order], y_pred[order], sizes, weight[order])
        for name, value in whole.items():
            np.testing.assert_allclose(actual[name], value, rtol=1e-6, atol=1e-7)


@pytest.mark.once
@every_in_graph
@pytest.mark.parametrize("channels", [1, 3])
def test_mean_of_the_function(metric, channels):
    """Per class, then over the classes; a weight counts an image that often."""
    y_true, y_pred = images(channels)
    weight = np.array([1, 0.5, 3, 0.25, 2, 1, 1], "float32")
    values = per_class(metric, y_true, y_pred)
    actual = streamed(metric(), y_true, y_pred, [3, 3, 1])[""]
    if metric is not metrics.Accuracy:
        np.testing.assert_allclose(actual, values.mean(), rtol=1e-5)
        actual = streamed(metric(), y_true, y_pred, [3, 3, 1], weight)[""]
        expected = np.average(values, axis=0, weights=weight).mean()
        np.testing.assert_allclose(actual, expected, rtol=1e-5)
    if "average" in arguments(metric):
        actual = streamed(metric(average=None, name="m"), y_true, y_pred, [3, 3, 1], weight)
        expected = np.average(values, axis=0, weights=weight)
        assert list(actual) == [f"m/{label}" for label in range(1, max(2, channels))]
        np.testing.assert_allclose(list(actual.values()), expected, rtol=1e-5)


@pytest.mark.once
@pooled
@pytest.mark.parametrize("channels", [1, 3])
def test_pooled_over_the_data_set(metric, channels):
    """As of one large image: the seven images beside each other. A weight of 2 is two copies."""
    y_true, y_pred = images(channels)
    large = np.concatenate(y_true, axis=0)[None], np.concatenate(y_pred, axis=0)[None]
    expected = array(
        twin(metric)(
            *large,
            **(
                {"average": "macro"}
                if metric not in (metrics.Accuracy, metrics.CBDiceScore)
                else {}
            ),
        )
    )[0]
    actual = streamed(metric(pool="dataset"), y_true, y_pred, [3, 3, 1])[""]
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert actual != pytest.approx(streamed(metric(), y_true, y_pred, [7])[""], rel=1e-6) or (
        metric is metrics.Accuracy  # all images have the same size
    )
    times = np.array([1, 2, 0, 3, 1, 1, 2])
    copies = np.repeat(np.arange(7), times)
    weighted = streamed(metric(pool="dataset"), y_true, y_pred, [3, 3, 1], times.astype("float32"))
    repeated = streamed(metric(pool="dataset"), y_true[copies], y_pred[copies], [len(copies)])
    np.testing.assert_allclose(weighted[""], repeated[""], rtol=1e-5)


@every_metric
def test_reset(metric):
    y_true, y_pred = images(3)
    fresh = streamed(metric(), y_true[:3], y_pred[:3], [3])
    used = metric()
    used.update_state(y_true[4:], y_pred[4:])
    used.reset_state()
    assert set(used.skipped.values()) == {0}
    assert streamed(used, y_true[:3], y_pred[:3], [3]) == fresh


def test_small_counts_survive_beside_huge_ones():
    """2**27 pixels of float32 would swallow each single pixel after them."""
    y_true = np.ones((1, 1), "int32")
    right, wrong = np.ones((1, 1, 1), "float32"), np.zeros((1, 1, 1), "float32")
    metric = metrics.Recall(pool="dataset")
    metric.update_state(y_true, right, np.array([2.0**27], "float32"))
    for _ in range(64):
        metric.update_state(y_true, wrong)
        metric.update_state(y_true, right)
    sums = np.array(array(metric._sums.value), "float64") + array(metric._rounding.value)
    assert sums[:4, 0].tolist() == [2.0**27 + 64, 0, 64, 0]
    assert float(metric.result()) < 1


def test_sums_are_exact_in_a_compiled_step():
    x = np.ones((129, 1, 1), "float32")
    x[1::2] = 0
    weight = np.ones(129, "float32")
    weight[0] = 2.0**27
    model = keras.Sequential([keras.Input((1, 1)), keras.layers.Identity()])
    metric = metrics.Recall(pool="dataset")
    model.compile(loss=kerasloss.Dice(), weighted_metrics=[metric])
    model.evaluate(x, np.ones((129, 1), "int32"), sample_weight=weight, batch_size=1, verbose=0)
    sums = np.array(array(metric._sums.value), "float64") + array(metric._rounding.value)
    assert sums[:4, 0].tolist() == [2.0**27 + 64, 0, 64, 0]


@every_in_graph
def test_half_precision(metric):
    y_true, y_pred = images(3)
    y_pred = y_pred.astype("float16")
    expected = streamed(metric(), y_true, y_pred.astype("float32"), [7])[""]
    assert streamed(metric(), y_true, y_pred, [7])[""] == expected
    half = metric(dtype="float16")
    result = half(y_true, y_pred)
    assert keras.backend.standardize_dtype(result.dtype) == "float16"
    np.testing.assert_allclose(float(result), expected, rtol=1e-3)


# ---- compiled -----------------------------------------------------------------------------------


def test_functions_compile():
    y_true, y_pred = images(3)
    functions = [twin(metric) for metric in IN_GRAPH]
    compiled = jit(lambda t, p: [function(t, p) for function in functions])
    tensors = keras.ops.convert_to_tensor(y_true), keras.ops.convert_to_tensor(y_pred)
    for function, value in zip(functions, compiled(*tensors), strict=True):
        expected = array(function(y_true, y_pred))
        np.testing.assert_allclose(array(value), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_evaluate(channels):
    """All at once in a compiled test step, the last batch smaller than the others."""
    y_true, y_pred = images(channels)
    weight = np.array([1, 0.5, 3, 0.25, 2, 1, 1], "float32")
    listed = [metric() for metric in IN_GRAPH]
    listed += [
        metrics.DiceScore(average=None, name="dice"),
        metrics.IoUScore(pool="dataset", name="pooled"),
    ]
    weighted = [metrics.DiceScore(name="weighted")]
    model = keras.Sequential([keras.Input(y_pred.shape[1:]), keras.layers.Identity()])
    model.compile(loss=kerasloss.Dice(), metrics=listed, weighted_metrics=weighted)
    for _ in range(2):
        logs = model.evaluate(
            y_pred, y_true, sample_weight=weight, batch_size=3, verbose=0, return_dict=True
        )
        expected = {}
        for metric in listed + weighted:
            fresh = type(metric).from_config(metric.get_config())
            result = fresh(y_true, y_pred, weight if metric in weighted else None)
            expected |= result if isinstance(result, dict) else {metric.name: result}
        assert set(logs) == {"loss", *expected}
        for name, value in expected.items():
            np.testing.assert_allclose(float(logs[name]), float(value), rtol=1e-5)
        assert listed[0].skipped == dict.fromkeys(range(1, max(2, channels)), 0)


def test_fit():
    """In `History`, for training and validation; it learns."""
    rng = np.random.default_rng(5)
    x = rng.random((12, 8, 8, 1)).astype("float32")
    y = (x[..., 0] > 0.5).astype("int32")
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 1, activation="sigmoid")]
    )
    listed = [metrics.DiceScore(average=None), metrics.HausdorffDistance()]
    model.compile(keras.optimizers.Adam(0.5), loss=kerasloss.CrossEntropy(), metrics=listed)
    history = model.fit(x, y, validation_data=(x, y), epochs=8, batch_size=6, verbose=0).history
    names = {"dice_score/1", "hausdorff_distance"}
    assert names | {f"val_{name}" for name in names} < set(history)
    predicted = model.predict(x, verbose=0)
    expected = float(metrics.DiceScore()(y, predicted))
    np.testing.assert_allclose(float(history["val_dice_score/1"][-1]), expected, rtol=1e-5)
    assert expected > 0.9


# ---- files --------------------------------------------------------------------------------------


@pytest.mark.once
@every_metric
def test_config_holds_every_argument(metric):
    passed = {name: metrics_cases.OTHER_VALUE[name] for name in arguments(metric)}
    passed |= {"name": "mine", "dtype": "float16"}
    original = metric(**passed)
    for copy in (original, metric.from_config(original.get_config())):
        assert copy.get_config() == passed
        assert copy.dtype == "float16"
    text = json.dumps(keras.saving.serialize_keras_object(original))
    restored = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(restored) is metric
    assert restored.get_config() == passed


@pytest.mark.once
@every_metric
def test_default_config(metric):
    config = json.loads(json.dumps(metric().get_config()))
    defaults = {n: list(v) if isinstance(v, tuple) else v for n, v in arguments(metric).items()}
    assert config == defaults | {"name": twin(metric).__name__, "dtype": None}


@every_in_graph
def test_class_and_twin_have_the_same_arguments(metric):
    own = set(arguments(metric)) - {"pool"}
    assert set(inspect.signature(twin(metric)).parameters) == own | {
        "y_true",
        "y_pred",
        "sample_weight",
    }


@every_metric
def test_unknown_arguments_are_refused(metric):
    with pytest.raises(TypeError, match="treshold"):
        metric(treshold=0.3)


@pytest.mark.once
@every_in_graph
def test_the_class_passes_its_arguments_on(metric):
    y_true, y_pred = images(3)
    for name in set(arguments(metric)) - {"pool", "average", "from_logits", "ignore_class"}:
        options = {name: metrics_cases.OTHER_VALUE[name]}
        values = per_class(metric, y_true, y_pred, **options)
        average = {"average": "macro"} if "average" in arguments(metric) else {}
        result = float(metric(**options, **average)(y_true, y_pred))
        np.testing.assert_allclose(result, np.nanmean(np.nanmean(values, axis=0)), rtol=1e-5)


def test_model_file(tmp_path):
    y_true, y_pred = images(3)
    model = keras.Sequential([keras.Input(y_pred.shape[1:]), keras.layers.Identity()])
    listed = [metrics.DiceScore(empty="skip"), metrics.HausdorffDistance(spacing=(1.0, 2.0))]
    model.compile(loss=kerasloss.Dice(), metrics=listed)
    expected = model.evaluate(y_pred, y_true, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(y_pred, y_true, verbose=0, return_dict=True) == expected


# ---- objects in a compiled step -----------------------------------------------------------------


def test_objects_in_a_compiled_step_are_refused():
    y_true, y_pred = images(1)
    model = keras.Sequential([keras.Input(y_pred.shape[1:]), keras.layers.Identity()])
    model.compile(loss=kerasloss.Dice(), metrics=[metrics.ObjectScores()])
    if BACKEND == "torch":  # which Keras runs eagerly
        logs = model.evaluate(y_pred, y_true, batch_size=3, verbose=0, return_dict=True)
        expected = numbers(metrics.ObjectScores()(y_true, y_pred))
        for name, value in expected.items():
            np.testing.assert_allclose(logs[name], value, rtol=1e-6)
    else:
        with pytest.raises(Exception, match="ObjectScores.*model.predict"):
            model.evaluate(y_pred, y_true, verbose=0)
