"""Every strategy, step by step, against a float64 implementation; and what all have in common."""

import json

import keras
import numpy as np
import oracle_strategies
import pytest
from backend_tools import array, jit
from keras import ops
from training import X, Y, fit, network, terms
from training import evaluate as evaluated

import kerasloss
from kerasloss import weighting
from kerasloss.weighting import Seen

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STRATEGIES = [
    getattr(weighting, name) for name in weighting.__all__ if name not in ("Seen", "Weighting")
]
LINE = keras.optimizers.schedules.PolynomialDecay(0.2, 10, 0.8)


def made(strategy, **options):
    if strategy is weighting.Schedule:
        return strategy({"ce": 0.5, "dice": LINE}, **options)
    if strategy is weighting.DynamicMemoryFusion:
        options |= {"warmup": 3}
    return strategy(**options)


every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.__name__)


def feed(strategy, rows, start, names=("ce", "dice", "iou", "focal")):
    """The weights after each row of term values, compiled, as the state of a compound does it."""
    start = np.asarray(start, "float32")
    names = names[: len(start)]
    active = ops.convert_to_tensor((start > 0).astype("float32"))

    @jit
    def step(values, number, weights, memory):
        return strategy.advance(Seen(names, values, number, weights, active), memory)

    weights = ops.convert_to_tensor(start)
    memory = {
        name: ops.convert_to_tensor(value) for name, value in strategy.memory_for(names).items()
    }
    collected = []
    for number, row in enumerate(np.asarray(rows, "float32"), start=1):
        weights, memory = step(
            ops.convert_to_tensor(row), ops.convert_to_tensor(np.int32(number)), weights, memory
        )
        collected.append(np.array(array(weights)))
    return np.stack(collected)


def series(steps, count, seed=0):
    """Losses that fall, each at its own pace and with its own noise."""
    rng = np.random.default_rng([seed, steps, count])
    pace = np.linspace(0.5, 3.0, count)
    falling = 0.2 + np.exp(-pace * np.linspace(0, 1, steps)[:, None])
    return falling * (1 + 0.2 * rng.random((steps, count))) * np.geomspace(1, 5, count)


# ---- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("Static", {}),
        ("SoftAdapt", {}),
        ("SoftAdapt", {"beta": -3.0, "points": 4}),
        ("SoftAdapt", {"beta": 0.5, "points": 6, "by_value": True}),
        ("DynamicWeightAverage", {}),
        ("DynamicWeightAverage", {"temperature": 0.1}),
        ("CoefficientOfVariation", {}),
        ("ReLoBRaLo", {}),
        ("ReLoBRaLo", {"alpha": 0.7, "temperature": 0.3, "rho": 0.0}),
        ("ReLoBRaLo", {"alpha": 0.5}),
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [2, 4])
def test_follows_the_oracle(strategy, options, count):
    rows = series(30, count).astype("float32")
    start = np.linspace(1, 2, count) / np.linspace(1, 2, count).sum()
    actual = feed(getattr(weighting, strategy)(**options), rows, start)
    expected = getattr(oracle_strategies, strategy)(np.float32(start), **options)
    np.testing.assert_allclose(actual, [expected.step(row) for row in rows], rtol=2e-4)


def test_schedule():
    own = {"iou": lambda t: 1 / (1 + t), "dice": LINE, "ce": 0.5}  # in no particular order
    actual = feed(weighting.Schedule(own), np.ones((12, 3)), [1 / 3] * 3)
    t = np.arange(12)
    expected = [np.full(12, 0.5), 0.2 + 0.6 * np.minimum(t, 10) / 10, 1 / (1 + t)]
    np.testing.assert_allclose(actual, np.transpose(expected), rtol=1e-5)


def test_random_weights_are_those_of_normal_numbers():
    steps = 4000
    strategy = weighting.RandomWeighting(seed=3)
    weights = feed(strategy, np.ones((steps, 3)), [1 / 3] * 3)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    # The logarithms differ by the difference of two standard normal numbers.
    difference = np.log(weights[:, 0] / weights[:, 1])
    assert abs(difference.mean()) < 5 * np.sqrt(2 / steps)
    assert abs(difference.var() - 2) < 0.3
    assert abs(np.mean(difference**4) / difference.var() ** 2 - 3) < 0.4
    assert abs(np.corrcoef(difference[1:], difference[:-1])[0, 1]) < 5 / np.sqrt(steps)
    assert abs(np.corrcoef(difference, np.log(weights[:, 2]))[0, 1]) < 0.1
    other = feed(weighting.RandomWeighting(seed=4), np.ones((steps, 3)), [1 / 3] * 3)
    for row in np.corrcoef(np.log(weights).T, np.log(other).T)[:3, 3:]:
        assert np.abs(row).max() < 5 / np.sqrt(steps)
    # On every backend those of NumPy, whose integers wrap around as well.
    np.testing.assert_allclose(weights[:5], oracle_strategies.random_weights(3, 5, 3), rtol=1e-4)


def test_lookback_by_chance():
    """With `alpha` 1 the weights are either the last ones or those against the first values."""
    rows = series(400, 2).astype("float32")
    actual = feed(weighting.ReLoBRaLo(alpha=1.0, rho=0.8), rows, [0.5, 0.5])
    last = np.all(np.abs(np.diff(actual, axis=0)) < 1e-7, axis=1)[2:]
    assert 0.7 < last.mean() < 0.9
    ratio = rows[3:] / rows[0]
    balanced = 2 * np.exp(ratio) / np.exp(ratio).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(actual[3:][~last], balanced[~last], rtol=1e-4)


# ---- what all have in common --------------------------------------------------------------------


@every_strategy
def test_term_that_is_left_out_stays_out(strategy):
    rows = series(20, 2)
    weights = feed(made(strategy), rows, [1.0, 0.0])
    assert not weights[:, 1].any()
    assert np.isfinite(weights).all() and (weights[:, 0] > 0).all()


@every_strategy
@pytest.mark.parametrize("total", [None, 3.0])
def test_minimum_total_and_smoothing(strategy, total):
    if strategy is weighting.Schedule:
        pytest.skip("its weights are used as they are")
    rows, start = series(25, 3), [0.2, 0.3, 0.5]
    plain = feed(made(strategy), rows, start)
    bounded = feed(made(strategy, minimum=0.1, total=total), rows, start)
    sums = bounded.sum(axis=1)
    assert (bounded >= 0.1 * sums[:, None] * (1 - 1e-5)).all()
    if total is not None:
        np.testing.assert_allclose(sums, total, rtol=1e-5)
    if strategy in (weighting.Static, weighting.ReLoBRaLo):
        return
    smooth = feed(made(strategy, smoothing=0.6), rows, start)
    assert np.abs(np.diff(smooth, axis=0)).sum() < np.abs(np.diff(plain, axis=0)).sum()


@pytest.mark.once
@every_strategy
def test_config_round_trip(strategy):
    original = made(strategy, every="epoch")
    text = json.dumps(keras.saving.serialize_keras_object(original))
    restored = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(restored) is strategy
    assert restored.every == "epoch"
    np.testing.assert_allclose(
        feed(restored, series(9, 2), [0.5, 0.5]), feed(original, series(9, 2), [0.5, 0.5])
    )


@pytest.mark.once
@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        (weighting.SoftAdapt, {"points": 3}),
        (weighting.SoftAdapt, {"beta": float("nan")}),
        (weighting.SoftAdapt, {"by_value": 1}),
        (weighting.DynamicWeightAverage, {"temperature": 0}),
        (weighting.ReLoBRaLo, {"alpha": 1.1}),
        (weighting.ReLoBRaLo, {"rho": -0.1}),
        (weighting.RandomWeighting, {"seed": 1.5}),
        (weighting.CoefficientOfVariation, {"every": "step"}),
        (weighting.CoefficientOfVariation, {"smoothing": 1.0}),
        (weighting.CoefficientOfVariation, {"minimum": -0.1}),
        (weighting.CoefficientOfVariation, {"total": 0.0}),
        (weighting.CoefficientOfVariation, {"smoothing": keras.Variable(0.5)}),
        (weighting.CoefficientOfVariation, {"minimum": keras.Variable(0.1)}),
        (weighting.DynamicMemoryFusion, {"memory": 2.5}),
        (weighting.Schedule, {"schedules": {}}),
        (weighting.Schedule, {"schedules": {"ce": "linear"}}),
        (weighting.Schedule, {"schedules": {"ce": -1.0}}),
    ],
    ids=str,
)
def test_bad_options(strategy, options):
    with pytest.raises(ValueError, match=strategy.__name__) as fault:
        strategy(**options)
    assert next(iter(options)) in str(fault.value)


@pytest.mark.once
def test_minimum_for_the_number_of_terms():
    kerasloss.Compound(terms(), weighting=weighting.SoftAdapt(minimum=0.49))
    with pytest.raises(ValueError, match="below 1 / 2"):
        kerasloss.Compound(terms(), weighting=weighting.SoftAdapt(minimum=0.5))


@pytest.mark.once
def test_schedule_of_other_terms():
    with pytest.raises(ValueError, match="a schedule for each of the terms"):
        kerasloss.Compound(terms(), weighting=weighting.Schedule({"ce": 1.0, "iou": 1.0}))


# ---- in training --------------------------------------------------------------------------------


def weights_of(logs):
    return np.array([logs["weight/ce"], logs["weight/dice"]]).T


# Where training and saving are asked on each backend; the other pairs on one of them.
EVERYWHERE = {"CoefficientOfVariation": "batch", "Schedule": "epoch", "ReLoBRaLo": "epoch"}


@pytest.mark.parametrize(
    ("strategy", "every"),
    [
        pytest.param(
            strategy,
            every,
            id=f"{strategy.__name__}-{every}",
            marks=() if EVERYWHERE.get(strategy.__name__) == every else pytest.mark.once,
        )
        for strategy in STRATEGIES
        for every in ("batch", "epoch")
    ],
)
def test_training(strategy, every):
    """Two fits continue; validation and `evaluate` change nothing; the weights are the oracle's."""
    loss = kerasloss.Compound(terms(), weighting=made(strategy, every=every))
    model = network(loss)
    options = {"epochs": 3, "batch_size": 8 if every == "batch" else 4}
    callback = kerasloss.DynamicWeighting()
    logs = fit(model, callback, validation_data=(X, 1 - Y), **options)
    evaluated(model)
    more = fit(model, callback, **options)
    weights = np.concatenate([weights_of(logs), weights_of(more)])
    values = np.array([logs["ce"] + more["ce"], logs["dice"] + more["dice"]]).T
    assert np.isfinite(weights).all()
    reference = getattr(oracle_strategies, strategy.__name__, None)
    if reference is None:
        return
    oracle = reference([0.5, 0.5])
    expected = [oracle.step(row) for row in values]
    if every == "epoch":  # what an epoch has shown holds in the next
        expected = [[0.5, 0.5], *expected[:-1]]
    np.testing.assert_allclose(weights, expected, rtol=1e-3)


class Evaluates(keras.callbacks.Callback):
    """Looks at other data after every epoch, as plain user code does."""

    def on_epoch_end(self, epoch, logs=None):
        evaluated(self.model)


@pytest.mark.parametrize("every", ["batch", "epoch"])
def test_evaluation_within_fit_changes_nothing(every):
    history = []
    for extra in ([], [Evaluates()]):
        loss = kerasloss.Compound(terms(), weighting=weighting.SoftAdapt(beta=50.0, every=every))
        history.append(fit(network(loss), kerasloss.DynamicWeighting(), *extra, epochs=4))
    assert np.ptp(history[0]["weight/ce"]) > 0.01
    assert history[0] == history[1]


def test_schedule_by_epochs():
    plan = {"ce": 1.0, "dice": lambda t: 0.25 * (1 + t)}
    loss = kerasloss.Compound(terms(), weighting=weighting.Schedule(plan, every="epoch"))
    logs = fit(network(loss), kerasloss.DynamicWeighting(), epochs=3, batch_size=2)
    np.testing.assert_allclose(logs["weight/dice"], [0.25, 0.5, 0.75])


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(
            strategy,
            id=strategy.__name__,
            marks=() if strategy.__name__ in EVERYWHERE else pytest.mark.once,
        )
        for strategy in STRATEGIES
    ],
)
def test_saved_model_continues(strategy, tmp_path):
    """A model that was saved between two epochs goes on as one that was not."""
    options = {"epochs": 2, "batch_size": 4}
    loss = kerasloss.Compound(terms(), weighting=made(strategy, every="epoch"))
    model = network(loss)
    fit(model, kerasloss.DynamicWeighting(), **options)
    model.save(tmp_path / "model.keras")
    expected = fit(model, kerasloss.DynamicWeighting(), **options)
    again = keras.saving.load_model(tmp_path / "model.keras")
    logs = fit(again, kerasloss.DynamicWeighting(), **options)
    for name, values in expected.items():
        np.testing.assert_allclose(logs[name], values, rtol=1e-5, err_msg=name)
