"""Weights that move inside `fit`, on the backend that KERAS_BACKEND names, compiled as it compiles.

Everything is judged from outside: what `History` says, what the state holds between epochs, and
how often the loss was traced. `test_dynamic_state.py` has how a model carries and keeps the state.
"""

import keras
import numpy as np
import oracle_weighting as oracle
import pytest
from backend_tools import BACKEND
from keras import ops
from training import (
    XV,
    YV,
    Record,
    Y,
    by_hand,
    compiled,
    convolution,
    dynamic,
    evaluate,
    fit,
    held,
    layers,
    network,
    pixelwise,
    read,
    terms,
)

import kerasloss
from kerasloss import DynamicWeighting
from kerasloss.weighting import DynamicMemoryFusion

# NumPy 2.4 warns about `np.array(variable)`, which Keras 3.15 itself calls.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


# ---- the weights themselves ---------------------------------------------------------------------


@pytest.mark.parametrize("jit", [True, False] if BACKEND == "tensorflow" else ["auto"])
@pytest.mark.parametrize("method", ["var", "mad", "bayes"])
def test_training_follows_the_oracle(method, jit):
    """Term values as recorded, through the float64 implementation, give the weights of `fit`."""
    start = {"ce": 0.8, "dice": 0.2}
    auxiliary = {"auxiliary": kerasloss.IoU(), "auxiliary_scale": 5.0, "auxiliary_decay": 0.3}
    loss = dynamic(method, warmup=4, memory=6, weights=start, **auxiliary)
    model, record = network(loss, jit_compile=jit), Record(loss)
    first = by_hand(model)
    logs = fit(model, DynamicWeighting(), record, epochs=11, batch_size=8)  # one batch an epoch

    fusion = oracle.Fusion(np.float32(list(start.values())), method=method, warmup=4, memory=6)
    weights = np.array([fusion.step(values) for values in record.values])
    assert np.ptp(weights, axis=0).max() > 0.05
    np.testing.assert_allclose(record.weights, weights, atol=2e-4)
    np.testing.assert_allclose(np.sum(record.weights, axis=1), 1, atol=1e-6)
    logged = np.stack([logs["weight/ce"], logs["weight/dice"]], axis=1)
    np.testing.assert_array_equal(logged, record.weights)
    np.testing.assert_allclose(np.stack([logs["ce"], logs["dice"]], axis=1), record.values, 1e-6)
    for name in ("ce", "dice", "iou"):
        np.testing.assert_allclose(logs[name][0], first[name], rtol=1e-5, err_msg=name)
    # Each step is trained with the weights that its own values gave.
    gamma = np.array([oracle.auxiliary_weight(step, 5.0, 0.3) for step in range(12)])
    total = np.sum(weights * record.values, axis=1) + gamma[:11] * logs["iou"]
    np.testing.assert_allclose(logs["loss"], total, rtol=2e-4)
    np.testing.assert_allclose(logs["weight/iou"], gamma[1:], rtol=1e-5)


def test_epoch_mean_counts_images():
    """Also where the last batch is smaller; and a static compound needs no callback."""
    loss = kerasloss.Compound(terms(), weights={"ce": 0.25, "dice": 2.0})
    model = network(loss, rate=0.0)
    expected = by_hand(model)
    plain = fit(model, batch_size=3)
    assert list(plain) == ["loss"]
    logs = fit(model, DynamicWeighting(), batch_size=3)
    for name in ("ce", "dice"):
        np.testing.assert_allclose(logs[name], [expected[name]], rtol=1e-5)
    assert (logs["weight/ce"], logs["weight/dice"]) == ([0.25], [2.0])
    for found in (plain, logs):
        total = 0.25 * expected["ce"] + 2 * expected["dice"]
        np.testing.assert_allclose(found["loss"], [total], rtol=1e-5)


# ---- one model through a life of fits, evaluations and changes ----------------------------------


class CountedDice(kerasloss.Dice):
    """Counts how often Python runs through it: once a trace where steps are compiled."""

    runs = 0

    def values(self, y_true, y_pred, sample_weight=None):
        CountedDice.runs += 1
        return super().values(y_true, y_pred, sample_weight)


@pytest.fixture(scope="module")
def life():
    """Lives it once; the tests look at what was noted down."""
    counted = {"ce": kerasloss.CrossEntropy(), "dice": CountedDice()}
    weighting = DynamicMemoryFusion(method="mad", warmup=3, memory=5)
    loss = kerasloss.Compound(counted, weighting=weighting)
    model, note, runs = network(loss), {}, []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: runs.append(CountedDice.runs))
    data = {"validation_data": (XV, YV), "validation_batch_size": 4}
    note["first"] = fit(model, DynamicWeighting(), count, epochs=3, **data)
    note["by hand"] = by_hand(model, XV, YV)
    note["after first"] = held(loss)
    note["evaluated"] = evaluate(model)
    note["after evaluation"] = held(loss)

    note["second"] = fit(model, DynamicWeighting(), count, epochs=2)
    note["after second"] = held(loss)

    loss.assign(weights={"ce": 0.0, "dice": 4.0}, dice={"smooth": 30.0}, weighting={"warmup": 99})
    model.optimizer.learning_rate.assign(0.0)
    note["assigned"] = by_hand(model, smooth=30.0), by_hand(model, XV, YV, smooth=30.0)
    note["evaluated after assign"] = evaluate(model)
    note["third"] = fit(model, DynamicWeighting(), count, **data)
    note["after third"] = held(loss)

    loss.restart()
    loss.assign(weighting={"warmup": 2})
    note["after restart"] = held(loss)
    fit(model, DynamicWeighting(), count, epochs=2, **data)
    note["after fourth"] = held(loss)
    evaluate(model)
    note["runs"] = [*runs, CountedDice.runs]
    return note


def test_history_has_terms_and_weights(life):
    names = {"ce", "dice", "weight/ce", "weight/dice", "loss"}
    assert set(life["second"]) == names | {"skipped_steps"}
    assert set(life["first"]) == set(life["second"]) | {f"val_{name}" for name in names}
    assert all(len(values) == 3 for values in life["first"].values())
    assert set(life["evaluated"]) == names


def test_validation_values(life):
    logs = {name: values[-1] for name, values in life["first"].items()}
    for name in ("ce", "dice"):
        np.testing.assert_allclose(logs[f"val_{name}"], life["by hand"][name], rtol=1e-5)
        assert logs[f"val_weight/{name}"] == logs[f"weight/{name}"]
    expected = sum(logs[f"weight/{name}"] * life["by hand"][name] for name in ("ce", "dice"))
    np.testing.assert_allclose(logs["val_loss"], expected, rtol=1e-5)
    for name, found in life["evaluated"].items():
        np.testing.assert_allclose(found, logs[f"val_{name}"], rtol=1e-6, err_msg=name)


def test_validation_advances_nothing(life):
    assert life["after first"]["step"] == 6  # 3 epochs of 2 batches, each with a validation
    assert life["after evaluation"] == life["after first"]
    fusion = oracle.Fusion([0.5, 0.5], method="mad", warmup=5, memory=5)
    for row in life["after first"]["memory"]:
        weights = fusion.step(row)
    np.testing.assert_allclose(life["after first"]["weights_now"], weights, atol=2e-4)


def test_second_fit_continues(life):
    assert life["after second"]["step"] == 10
    assert life["after second"]["memory"][0] == life["after first"]["memory"][-1]
    assert life["after second"]["weights_now"] != life["after first"]["weights_now"]


def test_assign_reaches_the_compiled_steps(life):
    """And so do the assigned warm-up, as the weights stay, and the weight of 0."""
    training, validation = (values["dice"] for values in life["assigned"])
    for logs, dice in (
        ({name: values[0] for name, values in life["third"].items()}, training),
        (life["evaluated after assign"], validation),
    ):
        np.testing.assert_allclose(logs["dice"], dice, rtol=1e-5)
        np.testing.assert_allclose(logs["loss"], 4 * dice, rtol=1e-5)
    assert life["after third"]["weights_now"] == [0.0, 4.0]
    assert life["after third"]["step"] == 12


def test_restart_between_fits(life):
    assert life["after restart"]["step"] == 0
    assert not np.any(life["after restart"]["memory"])
    assert life["after fourth"]["step"] == 4
    assert life["after fourth"]["weights_now"] == [0.0, 1.0]


@pytest.mark.skipif(BACKEND == "torch", reason="Keras runs PyTorch eagerly")
def test_nothing_is_traced_after_the_first_epoch(life):
    """Through validations, evaluations, assigned weights and options, a restart and four fits."""
    assert life["runs"][0] > 0
    assert set(life["runs"]) == {life["runs"][0]}


# ---- kinds of models and of numbers -------------------------------------------------------------


def two_outputs(losses):
    image = keras.Input((8, 8, 1))
    hidden = convolution(3, "relu")(image)
    outputs = {name: convolution(1, "sigmoid", name=name)(hidden) for name in losses}
    model = compiled(keras.Model(image, outputs), losses)
    return fit(model, DynamicWeighting(), y={"a": Y, "b": 1 - Y}, epochs=6, batch_size=8)


def test_two_outputs():
    """A functional model with a compound for each output: each goes by its own values."""
    other = kerasloss.Compound(
        {"iou": kerasloss.IoU(), "focal": kerasloss.Focal()},
        weighting=DynamicMemoryFusion(method="var", warmup=2, memory=4),
    )
    logs = two_outputs({"a": dynamic("mad", warmup=3, memory=5), "b": other})
    for output, names, fusion in (
        ("a", ("ce", "dice"), oracle.Fusion([0.5, 0.5], "mad", 3, 5)),
        ("b", ("iou", "focal"), oracle.Fusion([0.5, 0.5], "var", 2, 4)),
    ):
        values = np.array([logs[name] for name in names]).T
        weights = np.array([logs[f"weight/{name}"] for name in names]).T
        np.testing.assert_allclose(weights, [fusion.step(row) for row in values], atol=1e-3)
        np.testing.assert_allclose(logs[f"{output}_loss"], np.sum(weights * values, axis=1), 1e-5)


def test_two_outputs_with_terms_of_the_same_names():
    """None hides the other in `History`; to refuse them would do as well."""
    try:
        logs = two_outputs({"a": dynamic(), "b": dynamic("var")})
    except ValueError:
        return
    assert len([name for name in logs if "weight/" in name]) == 4


@pytest.mark.parametrize("built", [False, True], ids=["new", "built"])
def test_subclassed_model(built):
    class Network(keras.Model):
        def __init__(self):
            super().__init__()
            self.stack = layers()

        def call(self, image):
            for layer in self.stack:
                image = layer(image)
            return image

    loss = dynamic()
    model = compiled(Network(), loss)
    if built:
        model(XV)
    logs = fit(model, DynamicWeighting(), epochs=3)
    assert held(loss)["step"] == 6
    assert sorted(logs) == ["ce", "dice", "loss", "skipped_steps", "weight/ce", "weight/dice"]
    assert (
        [logs["weight/ce"][-1], logs["weight/dice"][-1]] == held(loss)["weights_now"] != [0.5, 0.5]
    )


@pytest.fixture
def mixed_float16():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


def test_mixed_precision(mixed_float16):
    """Half precision for the model; weights and memory stay in float32."""
    loss = dynamic(warmup=2)
    model = network(loss, rate=0.1, stack=pixelwise)
    assert model.compute_dtype == "float16"
    logs = fit(model, DynamicWeighting(), epochs=2)
    assert all(np.isfinite(values).all() for values in logs.values())
    assert {variable.dtype for variable in loss._state.variables} == {"float32", "int32"}
    assert held(loss)["step"] == 4
    np.testing.assert_allclose(logs["weight/ce"][-1] + logs["weight/dice"][-1], 1, atol=1e-6)


class SometimesNaN(kerasloss.Dice):
    """NaN, without a gradient, in a batch where an image weighs more than 1."""

    def values(self, y_true, y_pred, sample_weight=None):
        values = ops.stop_gradient(super().values(y_true, y_pred, sample_weight))
        return ops.where(ops.any(sample_weight > 1), float("nan"), values)


def test_nan_does_not_enter_the_memory():
    loss = kerasloss.Compound(
        {"ce": kerasloss.CrossEntropy(), "dice": SometimesNaN()},
        weighting=DynamicMemoryFusion(method="var", warmup=2, memory=5),
    )
    weight = np.array([1, 1, 1, 1, 2, 2, 1, 1], "float32")  # NaN in the third of four batches
    logs = fit(network(loss), DynamicWeighting(), epochs=2, batch_size=2, sample_weight=weight)
    assert held(loss)["step"] == 6
    assert np.isfinite(read(loss, "memory")).all() and (read(loss, "memory") > 0).all()
    assert np.isfinite(logs["weight/dice"]).all()
    assert np.isnan(logs["dice"]).all()  # the mean does not hide it
    assert logs["skipped_steps"] == [1, 2]


def test_variable_of_the_user():
    """A hyper-parameter that is a variable changes the compiled steps, on every backend."""
    smooth = keras.Variable(0.0, dtype="float32")
    loss = kerasloss.Compound({"dice": kerasloss.Dice(smooth=smooth)})
    model = network(loss, rate=0.0)
    for number in (0.0, 30.0):
        smooth.assign(number)
        expected = by_hand(model, smooth=number)["dice"]
        np.testing.assert_allclose(fit(model, DynamicWeighting())["loss"], [expected], rtol=1e-5)
