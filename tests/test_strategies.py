"""Every strategy, step by step, against a float64 implementation; and what all have in common."""

import keras
import numpy as np
import oracle_strategies
import pytest
from backend_tools import array, grad, jit
from keras import ops
from training import X, Y, compiled, convolution, fit, network, terms
from training import evaluate as evaluated

import kerasloss
from kerasloss import weighting
from kerasloss.terms import chain_to_logits
from kerasloss.weighting import Seen

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STRATEGIES = [
    getattr(weighting, name)
    for name in weighting.__all__
    if name not in ("LogVariances", "Seen", "Weighting")
]
# Those that follow from the values alone, step by step.
FOLLOWING = [s for s in STRATEGIES if s is not weighting.Uncertainty]
LINE = keras.optimizers.schedules.PolynomialDecay(0.2, 10, 0.8)


def made(strategy, **options):
    if strategy is weighting.Schedule:
        return strategy({"ce": 0.5, "dice": LINE}, **options)
    if strategy is weighting.DynamicMemoryFusion:
        options |= {"warmup": 3}
    return strategy(**options)


# Those that go ways of their own through the state.
CONTRACT_EVERYWHERE = ("DynamicMemoryFusion", "GradientBalance", "Schedule", "Uncertainty")

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.__name__)
every_following = pytest.mark.parametrize("strategy", FOLLOWING, ids=lambda s: s.__name__)


def feed(strategy, rows, start, names=("ce", "dice", "iou", "focal"), gradients=None):
    """The weights after each row of term values, compiled, as the state of a compound does it."""
    start = np.asarray(start, "float32")
    names = names[: len(start)]
    first = ops.convert_to_tensor(start)

    @jit
    def step(values, number, weights, gradients, memory):
        return strategy.advance(Seen(names, values, number, weights, first, gradients), memory)

    weights = ops.convert_to_tensor(start)
    memory = {
        name: ops.convert_to_tensor(value) for name, value in strategy.memory_for(names).items()
    }
    collected = []
    rows = np.asarray(rows, "float32")
    slopes = rows if gradients is None else np.asarray(gradients, "float32")
    for number, (row, slope) in enumerate(zip(rows, slopes, strict=True), start=1):
        weights, memory = step(
            ops.convert_to_tensor(row),
            ops.convert_to_tensor(np.int32(number)),
            weights,
            ops.convert_to_tensor(slope),
            memory,
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


@pytest.mark.parametrize("options", [{}, {"alpha": 1.5}, {"alpha": 0.5, "smoothing": 0.0}], ids=str)
@pytest.mark.parametrize("count", [2, 4])
def test_gradient_balance_follows_the_oracle(options, count):
    rows = series(30, count).astype("float32")
    norms = series(30, count, seed=1)[:, ::-1] ** 2
    norms[20, 0] = 0  # at the end of its way
    start = np.linspace(1, 2, count) / np.linspace(1, 2, count).sum()
    actual = feed(weighting.GradientBalance(**options), rows, start, gradients=norms)
    oracle = oracle_strategies.GradientBalance(start, **options)
    expected = [oracle.step(row, slopes) for row, slopes in zip(rows, norms, strict=True)]
    np.testing.assert_allclose(actual, expected, rtol=2e-4)


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


@every_following
@pytest.mark.parametrize("total", [None, 3.0])
def test_minimum_total_and_smoothing(strategy, total):
    if strategy is weighting.Schedule:
        pytest.skip("its weights are used as they are")
    rows, start = series(25, 3), [0.2, 0.3, 0.5]
    bounded = feed(made(strategy, minimum=0.1, total=total), rows, start)
    sums = bounded.sum(axis=1)
    assert (bounded >= 0.1 * sums[:, None] * (1 - 1e-5)).all()
    if total is not None:
        np.testing.assert_allclose(sums, total, rtol=1e-5)
    if strategy in (weighting.Static, weighting.ReLoBRaLo):
        return
    plain = feed(made(strategy, smoothing=0.0), rows, start)
    smooth = feed(made(strategy, smoothing=0.6), rows, start)
    assert np.abs(np.diff(smooth, axis=0)).sum() < np.abs(np.diff(plain, axis=0)).sum()


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(
            strategy,
            id=strategy.__name__,
            marks=() if strategy.__name__ in CONTRACT_EVERYWHERE else pytest.mark.once,
        )
        for strategy in STRATEGIES
    ],
)
def test_contract(strategy):
    kerasloss.testing.check_weighting(made(strategy), ("ce", "dice"))


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
        for strategy in FOLLOWING
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
    if reference is None or strategy.sees_gradients:
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


def test_gradient_balance_sees_the_gradients_at_the_logits():
    plain = weighting.GradientBalance(smoothing=0.0)
    loss = kerasloss.Compound(terms(), weighting=plain)
    model = network(loss)
    predicted = model.predict(X, verbose=0)
    logs = fit(model, kerasloss.DynamicWeighting(), batch_size=8)
    # By the losses that take logits, of which the package has another implementation.
    logits = np.log(predicted / (1 - predicted))
    of_logits = (kerasloss.CrossEntropy(from_logits=True), kerasloss.Dice(from_logits=True))
    norms = [np.linalg.norm(grad(lambda z, t=term: t(Y, z), logits)) for term in of_logits]
    assert norms[0] > 1.2 * norms[1] or norms[1] > 1.2 * norms[0]
    expected = 2 / np.array(norms) / np.sum(1 / np.array(norms))
    np.testing.assert_allclose(weights_of(logs)[0], expected, rtol=1e-4)


@pytest.mark.parametrize("multilabel", [False, True], ids=["softmax", "multilabel"])
def test_gradient_at_the_logits_of_several_classes(multilabel):
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(2, 4, 4, 3)).astype("float32")
    powers = np.exp(logits)
    probability = powers / (1 + powers if multilabel else powers.sum(axis=-1, keepdims=True))
    y_true = np.eye(3, dtype="float32")[rng.integers(0, 3, (2, 4, 4))]
    plain, of_logits = kerasloss.Dice(), kerasloss.Dice(from_logits=True)
    if multilabel:
        plain, of_logits = kerasloss.Multilabel(plain), kerasloss.Multilabel(of_logits)
    slope = grad(lambda p: plain(y_true, p), probability)
    expected = grad(lambda z: of_logits(y_true, z), logits)
    chain = chain_to_logits([plain])
    found = array(chain(ops.convert_to_tensor(probability), ops.convert_to_tensor(slope)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-8)
    assert chain_to_logits([of_logits]) is None


# ---- what the optimizer of the model learns -----------------------------------------------------


def learning(weights=None, rate=0.5, **options):
    loss = kerasloss.Compound(terms(), weighting=weighting.Uncertainty(), weights=weights)
    # The terms in another order, and the layer in the midst of the model.
    layer = kerasloss.LogVariances(["dice", "ce"], **options)
    layers = [convolution(3, "relu"), layer, convolution(1, "sigmoid")]
    return loss, compiled(keras.Sequential([keras.Input((8, 8, 1)), *layers]), loss, rate)


def test_uncertainty_descends():
    """Step by step what gradient descent makes of the log-variances; validation as it should be."""
    loss, model = learning({"ce": 1.0, "dice": 0.5}, initial=-0.5)
    logs = fit(
        model, kerasloss.DynamicWeighting(), epochs=12, batch_size=8, validation_data=(X, 1 - Y)
    )
    start, s = np.array([1.0, 0.5]), np.array([-0.5, -0.5])
    for epoch, values in enumerate(zip(logs["ce"], logs["dice"], strict=True)):
        weights = start * np.exp(-s)
        np.testing.assert_allclose(weights_of(logs)[epoch], weights, rtol=1e-4)
        np.testing.assert_allclose(logs["loss"][epoch], weights @ values + s.sum() / 2, rtol=1e-4)
        s = s + 0.5 * (weights * values - 0.5)
        validation = logs["val_ce"][epoch], logs["val_dice"][epoch]
        expected = start * np.exp(-s) @ validation + s.sum() / 2
        np.testing.assert_allclose(logs["val_loss"][epoch], expected, rtol=1e-4)
    assert np.abs(s + 0.5).min() > 0.05


def test_uncertainty_leaves_out_what_is_left_out():
    loss, model = learning({"ce": 1.0, "dice": 0.0})
    fit(model, kerasloss.DynamicWeighting(), epochs=3)
    dice, ce = array(model.layers[1].log_variances.value)
    assert dice == 0 and abs(ce) > 0.01


def test_loaded_uncertainty_evaluates_without_a_callback(tmp_path):
    loss, model = learning()
    fit(model, kerasloss.DynamicWeighting(), epochs=2)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.loss._state.can_learn is False
    np.testing.assert_allclose(evaluated(again)["loss"], evaluated(model)["loss"], rtol=1e-5)


def test_uncertainty_outputs_keep_their_dtype():
    layer = kerasloss.LogVariances(["a", "b"], dtype="mixed_float16")
    assert keras.backend.standardize_dtype(layer(np.zeros((1, 4), "float32")).dtype) == "float32"
    assert keras.backend.standardize_dtype(layer.log_variances.dtype) == "float32"


@pytest.mark.once
def test_uncertainty_without_its_layer():
    loss = kerasloss.Compound(terms(), weighting=weighting.Uncertainty())
    model = network(loss)
    with pytest.raises(ValueError, match=r"LogVariances\(\['ce', 'dice'\]\).*a model with none"):
        fit(model, kerasloss.DynamicWeighting())
    other = kerasloss.LogVariances(["ce", "iou"])
    model = compiled(keras.Sequential([keras.Input((8, 8, 1)), other, convolution(1, None)]), loss)
    with pytest.raises(ValueError, match=r"those of \['ce', 'iou'\]"):
        fit(model, kerasloss.DynamicWeighting())
    model = network(loss, metrics=[loss.state])
    with pytest.raises(ValueError, match="learn_with"):
        fit(model)


@pytest.mark.once
@pytest.mark.parametrize("bad", ["ce", [], [1], None], ids=str)
def test_bad_terms_of_log_variances(bad):
    with pytest.raises(ValueError, match="a list of names"):
        kerasloss.LogVariances(bad)
