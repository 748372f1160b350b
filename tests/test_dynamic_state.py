"""How a model carries the state of a compound, keeps it in files, and what happens if it does not.

`test_dynamic_weighting.py` has what the weights do.
"""

import keras
import numpy as np
import oracle_weighting as oracle
import pytest
from backend_tools import BACKEND
from training import (
    XV,
    YV,
    Record,
    by_hand,
    dynamic,
    evaluate,
    fit,
    held,
    network,
    terms,
)

import kerasloss
from kerasloss import DynamicWeighting

# NumPy 2.4 warns about `np.array(variable)`, which Keras 3.15 itself calls.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


# ---- files --------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["callback", "metrics"])
def saved(request, tmp_path_factory):
    """A model saved in the middle of a training, and what the rest of that training was like."""
    loss, folder = dynamic(), tmp_path_factory.mktemp("saved")
    callback = request.param == "callback"
    model = network(loss, metrics=None if callback else [loss.state])
    callbacks = [DynamicWeighting()] if callback else []
    fit(model, *callbacks, epochs=2)
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    note = {"held": held(loss), "evaluated": evaluate(model) if callback else None}
    note["rest"] = fit(model, *callbacks, epochs=2)
    assert note["rest"]["weight/ce"][0] != note["rest"]["weight/ce"][1]
    return folder, callbacks, note


def check_logs(found, expected):
    assert set(found) == set(expected)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, err_msg=name)


def test_loaded_model_continues(saved):
    folder, callbacks, note = saved
    model = keras.models.load_model(folder / "model.keras")
    assert held(model.loss) == note["held"]
    check_logs(fit(model, *callbacks, epochs=2), note["rest"])


def test_loaded_weights_continue(saved):
    folder, callbacks, note = saved
    loss = dynamic()
    model = network(loss, metrics=None if callbacks else [loss.state])
    model.load_weights(folder / "model.weights.h5")
    assert held(loss) == note["held"]
    check_logs(fit(model, *callbacks, epochs=2), note["rest"])


@pytest.mark.parametrize("saved", ["callback"], indirect=True)
def test_loaded_model_evaluates_and_stays_as_it_is(saved):
    folder, _, note = saved
    model = keras.models.load_model(folder / "model.keras")
    found = model.evaluate(XV, YV, batch_size=4, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["loss"], note["evaluated"]["loss"], rtol=1e-6)
    assert held(model.loss) == note["held"]


def test_weights_of_another_compound_are_refused(saved):
    folder, _, _ = saved
    loss = dynamic(memory=7)
    model = network(loss, metrics=[loss.state])
    with pytest.raises(ValueError):
        model.load_weights(folder / "model.weights.h5")


# ---- among the metrics, by hand or by the callback ----------------------------------------------


def test_state_among_the_metrics_then_the_callback_too():
    """Nothing is there twice, and from the callback on validation advances nothing."""
    loss = dynamic()
    model, record = network(loss, metrics=[loss.state]), Record(loss)
    one_batch = {"batch_size": 8, "validation_batch_size": 4}
    first = fit(model, record, epochs=2, **one_batch)
    assert sorted(first) == ["ce", "dice", "loss", "weight/ce", "weight/dice"]
    data = one_batch | {"validation_data": (XV, YV)}
    second = fit(model, DynamicWeighting(), record, epochs=3, **data)
    assert len(second) == 11
    assert held(loss)["step"] == 5
    fusion = oracle.Fusion([0.5, 0.5], method="mad", warmup=3, memory=5)
    weights = np.array([fusion.step(values) for values in record.values])
    found = [first[f"weight/{name}"] + second[f"weight/{name}"] for name in ("ce", "dice")]
    np.testing.assert_allclose(np.transpose(found), weights, atol=2e-4)
    before = held(loss)
    evaluate(model)
    assert held(loss) == before


def test_recompiling_leaves_nothing_behind():
    model = network(dynamic())
    fit(model, DynamicWeighting())
    other = kerasloss.Compound({"iou": kerasloss.IoU(), "focal": kerasloss.Focal()})
    model.compile("sgd", loss=other)
    logs = fit(model, DynamicWeighting())
    assert sorted(logs) == ["focal", "iou", "loss", "weight/focal", "weight/iou"]


def test_model_without_a_compound():
    for loss in (kerasloss.Dice(), "binary_crossentropy"):
        with pytest.raises(ValueError, match="DynamicWeighting"):
            fit(network(loss), DynamicWeighting())


def test_two_callbacks():
    model = network(dynamic())
    with pytest.raises(ValueError, match="one callback in a `fit`.* 2 of them"):
        fit(model, DynamicWeighting(), DynamicWeighting())
    callback = DynamicWeighting()
    fit(model, callback)
    model.evaluate(XV, YV, verbose=0, callbacks=[callback])
    fit(model, DynamicWeighting())
    fit(model, callback)


def test_a_fit_that_fails_before_it_begins_is_forgotten():
    class Broken(keras.callbacks.Callback):
        def set_params(self, params):
            raise RuntimeError("broken")

    model, kept = network(dynamic()), DynamicWeighting()
    with pytest.raises(RuntimeError, match="broken"):
        fit(model, kept, Broken())
    fit(model, DynamicWeighting())


@pytest.mark.parametrize("axes", [(1, 2), ()], ids=["per pixel", "scalar"])
def test_term_that_returns_another_shape(axes):
    """One clear error, before the first step."""

    class Wrong(kerasloss.losses.SegmentationLoss):
        def values(self, y_true, y_pred, sample_weight=None):
            error = keras.ops.square(y_true - y_pred)
            return error[..., 0] if axes else keras.ops.mean(error)

    loss = kerasloss.Compound({"a": kerasloss.Dice(), "b": Wrong(name="mine")})
    with pytest.raises(ValueError, match=r"`mine` to have the shape \(batch,\)"):
        fit(network(loss), DynamicWeighting())


# ---- nowhere ------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [False, True], ids=["new", "saved"])
def test_dynamic_compound_that_no_model_carries(save, tmp_path):
    """Saving a model visits every attribute; that must not pass for carrying the state."""
    model = network(dynamic())
    if save:
        model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="DynamicWeighting") as fault:
        fit(model)
    assert "metrics=[loss.state]" in str(fault.value)


@pytest.mark.parametrize("save", [False, True], ids=["new", "saved"])
def test_static_compound_that_no_model_carries(save, tmp_path):
    """JAX compiles its numbers as constants: there `assign` must not pretend."""
    loss = kerasloss.Compound(terms())
    model = network(loss, rate=0.0)
    fit(model)
    before = evaluate(model)["loss"]
    if save:
        model.save(tmp_path / "model.keras")
    if BACKEND == "jax":
        with pytest.raises(ValueError, match="DynamicWeighting"):
            loss.assign(weights={"ce": 3.0})
        assert held(loss)["weights_now"] == [0.5, 0.5]
        assert evaluate(model)["loss"] == before
    else:
        loss.assign(weights={"ce": 3.0})
        assert evaluate(model)["loss"] > 2 * before
    fit(model, DynamicWeighting())
    loss.assign(weights={"ce": 5.0, "dice": 0.0})
    np.testing.assert_allclose(evaluate(model)["loss"], 5 * by_hand(model, XV, YV)["ce"], 1e-5)


def test_auxiliary_of_a_static_compound_that_no_model_carries():
    """It decays in every training step, or is refused; on no backend does it silently stay."""
    auxiliary = {"auxiliary": kerasloss.CrossEntropy(), "auxiliary_decay": 1.0}
    model = network(kerasloss.Compound({"dice": kerasloss.Dice()}, **auxiliary), rate=0.0)
    values = by_hand(model)
    try:
        logs = fit(model, epochs=3, batch_size=8)
    except ValueError as fault:
        assert "DynamicWeighting" in str(fault)
        return
    gamma = np.array([oracle.auxiliary_weight(step, 1.0, 1.0) for step in range(3)])
    np.testing.assert_allclose(logs["loss"], values["dice"] + gamma * values["ce"], rtol=1e-5)


def test_assign_in_the_middle_of_an_epoch():
    """JAX keeps the state elsewhere until the epoch ends: `assign` works there or refuses."""
    loss, fault = dynamic(), []

    def assign(batch, logs):
        try:
            loss.assign(weights={"ce": 0.0, "dice": 7.0}, weighting={"warmup": 99})
        except ValueError as error:
            fault.append(error)

    middle = keras.callbacks.LambdaCallback(on_train_batch_end=assign)
    fit(network(loss), DynamicWeighting(), middle)
    assert held(loss)["weights_now"] == ([0.5, 0.5] if fault else [0.0, 7.0])
