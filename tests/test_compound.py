"""`kerasloss.Compound` by itself: values, the auxiliary term, moving weights, refusals.

Losses are called directly here; `test_dynamic_weighting.py` has what happens inside `fit`.
"""

import keras
import numpy as np
import oracle_weighting as oracle
import pytest
from backend_tools import BACKEND, array, grad
from cases import Case
from keras import ops
from test_golden import AB, A

import kerasloss
from kerasloss.weighting import DynamicMemoryFusion

# NumPy 2.4 warns about `np.array(variable)`, which Keras 3.15 itself calls.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NAN = float("nan")
WEIGHTS = {"focal": 0.3, "dice": 0.7}


def two_terms():
    return {"focal": kerasloss.Focal(alpha=0.5), "dice": kerasloss.Dice(smooth=0.0)}


def static(**options):
    return kerasloss.Compound(two_terms(), **{"weights": WEIGHTS} | options)


def dynamic(**options):
    weighting = DynamicMemoryFusion(method="mad", warmup=3, memory=5)
    return kerasloss.Compound(two_terms(), **{"weights": WEIGHTS, "weighting": weighting} | options)


def full():
    return dynamic(auxiliary=kerasloss.IoU(), auxiliary_scale=5.0, auxiliary_decay=0.5)


def snapshot(loss):
    """Every number that the compound holds."""
    return {variable.path: np.array(array(variable.value)) for variable in loss.state.variables}


def images(seed):
    return Case(1, target="soft").data(seed=seed)[:2]


def train(loss, steps, start=0):
    """Some training steps by hand; who takes the state of a loss is trusted to keep it."""
    assert loss.state is loss.state
    return [array(loss(*images(seed))) for seed in range(start, start + steps)]


def check_same(loss, before):
    for path, value in snapshot(loss).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)


def check(actual, expected, rtol=2e-6):
    actual = array(ops.convert_to_tensor(actual))
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=1e-7)


# ---- values -------------------------------------------------------------------------------------


def test_golden_value():
    """Cross-entropy .192165 and Dice .310345 of scene A."""
    terms = {"ce": kerasloss.CrossEntropy(), "dice": kerasloss.Dice(smooth=0.0)}
    check(kerasloss.Compound(terms)(*A), (0.192165 + 0.310345) / 2, rtol=5e-6)
    loss = kerasloss.Compound(terms, weights={"dice": 3, "ce": 0.5})
    check(loss(*A), 0.5 * 0.192165 + 3 * 0.310345, rtol=5e-6)
    check(loss.values(*A), [0.5 * 0.192165 + 3 * 0.310345], rtol=5e-6)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean", "sum", "none", None])
@pytest.mark.parametrize("weight", [None, "image", "pixel", "pixel1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_value_is_the_weighted_sum(reduction, weight, channels):
    """Of the terms as each gives it by itself, ignored pixels and weights counted its own way."""
    y_true, y_pred, sample_weight = Case(channels, weight=weight).data(seed=60)
    options = [{"ignore_class": 0}, {"class_weight": [1.0] * max(channels, 2)}, {}]
    classes = [kerasloss.Dice, kerasloss.CrossEntropy, kerasloss.IoU]
    weights = {"one": 0.5, "two": 2.0, "three": 0.0}
    expected = 0
    for kind, option, factor in zip(classes, options, weights.values(), strict=True):
        expected += factor * array(
            kind(**option, reduction=reduction)(y_true, y_pred, sample_weight=sample_weight)
        )
    terms = [kind(**option) for kind, option in zip(classes, options, strict=True)]
    loss = kerasloss.Compound(
        dict(zip(weights, terms, strict=True)), weights=weights, reduction=reduction
    )
    check(loss(y_true, y_pred, sample_weight=sample_weight), expected)
    if reduction == "none":
        check(loss.values(y_true, y_pred, sample_weight), expected)


def test_default_weights_are_equal():
    terms = {name: kerasloss.Dice() for name in "abc"}
    check(kerasloss.Compound(terms)(*A), array(kerasloss.Dice()(*A)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtype_is_that_of_the_result_alone(dtype):
    result = static(dtype=dtype)(*A)
    assert keras.backend.standardize_dtype(result.dtype) == dtype
    check(result, array(static()(*A)), rtol=1e-2)


def test_values_changes_no_state():
    loss = full()
    before = snapshot(loss)
    loss.values(*A)
    check_same(loss, before)


# ---- the auxiliary term -------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "decay"), [(5.0, 0.05), (1.0, 0.0), (0.0, 0.5), (2.0, 3.0)])
def test_auxiliary_weight_decays_with_every_step(scale, decay):
    loss = static(auxiliary=kerasloss.IoU(), auxiliary_scale=scale, auxiliary_decay=decay)
    loss.state.reset_state()  # taken out: a weight that decays may not be called without
    sum_of_terms, auxiliary = array(static()(*AB)), array(kerasloss.IoU()(*AB))
    for step in range(4):
        gamma = oracle.auxiliary_weight(step, scale, decay)
        check(ops.mean(loss.values(*AB)), sum_of_terms + gamma * auxiliary)
        check(loss(*AB), sum_of_terms + gamma * auxiliary)
    check(loss.state.result()["weight/iou"], oracle.auxiliary_weight(4, scale, decay))


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_auxiliary_and_reduction(reduction):
    y_true, y_pred, weight = Case(3, weight="image").data(seed=61)
    loss = static(auxiliary=kerasloss.IoU(), auxiliary_scale=5.0, reduction=reduction)
    loss.state.reset_state()
    expected = array(static(reduction=reduction)(y_true, y_pred, weight))
    expected = expected + 5 * array(kerasloss.IoU(reduction=reduction)(y_true, y_pred, weight))
    check(loss(y_true, y_pred, weight), expected)


def test_auxiliary_with_the_name_of_a_term():
    loss = static(auxiliary=kerasloss.Dice(), auxiliary_scale=4.0)
    loss.state.reset_state()
    loss(*A)
    result = loss.state.result()
    assert {"focal", "dice", "auxiliary/dice", "weight/dice"} < set(result)
    check(result["weight/dice"], 0.7)
    check(result["auxiliary/dice"], array(kerasloss.Dice()(*A)))


# ---- moving weights -----------------------------------------------------------------------------


def test_weights_follow_the_term_values():
    """The weights of a step follow from the values up to this step, and this step uses them."""
    loss, fusion = full(), oracle.Fusion([0.3, 0.7], method="mad", warmup=3, memory=5)
    for step in range(8):
        y_true, y_pred = images(step)
        values = [float(array(term(y_true, y_pred))) for term in two_terms().values()]
        weights = fusion.step(values)
        gamma = oracle.auxiliary_weight(step, 5.0, 0.5)
        expected = np.dot(weights, values) + gamma * array(kerasloss.IoU()(y_true, y_pred))
        check(train(loss, 1, start=step)[0], expected, rtol=1e-4)
        check(loss.state.weights_now.value, weights, rtol=1e-4)


def test_weights_carry_no_gradient():
    """Though they follow from the values of the very step: they are factors, nothing more."""
    loss = dynamic(weighting=DynamicMemoryFusion(method="var", warmup=3, memory=5))
    train(loss, 4)
    y_true, y_pred = images(9)
    mapping = [(variable, variable.value) for variable in loss.state.variables]

    def stateless(p):
        with keras.StatelessScope(state_mapping=mapping):
            return loss(y_true, p)

    found = grad(stateless, y_pred)
    parts = [grad(lambda p, t=term: t(y_true, p), y_pred) for term in two_terms().values()]
    train(loss, 1, start=9)
    weights = array(loss.state.weights_now.value)
    check(found, weights[0] * parts[0] + weights[1] * parts[1], rtol=1e-4)


def test_static_compound_needs_nothing_else():
    loss = static()
    for seed in range(6):
        loss(*images(seed))
    check(loss.state.weights_now.value, [0.3, 0.7])


def test_dynamic_compound_without_its_state():
    with pytest.raises(ValueError, match="DynamicWeighting") as fault:
        dynamic()(*A)
    assert "metrics=[loss.state]" in str(fault.value)


def test_state_goes_through_a_stateless_scope():
    """As in the training step of JAX."""
    loss = dynamic()
    mapping = [(variable, variable.value) for variable in loss.state.variables]
    with keras.StatelessScope(state_mapping=mapping) as scope:
        loss(*A)
    assert int(array(scope.get_current_value(loss.state.step))) == 1
    assert int(array(loss.state.step.value)) == 0
    if BACKEND == "jax":
        with keras.StatelessScope(), pytest.raises(ValueError, match="DynamicWeighting"):
            loss(*A)


def test_result_has_the_means_since_the_last_reset():
    loss = dynamic()
    state = loss.state
    batches = [images(seed) for seed in range(4)]
    batches[1] = tuple(part[:1] for part in batches[1])  # an image less
    dice = [array(ops.convert_to_tensor(kerasloss.dice(*batch, smooth=0.0))) for batch in batches]
    for batch in batches[:2]:
        loss(*batch)
    assert list(state.result()) == ["focal", "dice", "weight/focal", "weight/dice"]
    check(state.result()["dice"], np.mean(np.concatenate(dice[:2])))
    memory = np.array(array(state.memory["history"].value))
    state.reset_state()
    np.testing.assert_array_equal(array(state.memory["history"].value), memory)
    assert int(array(state.step.value)) == 2
    for batch in batches[2:]:
        loss(*batch)
    check(state.result()["dice"], np.mean(np.concatenate(dice[2:])))


def test_result_is_not_touched_by_later_steps():
    loss = full()
    train(loss, 1)
    result = loss.state.result()
    before = {name: np.array(array(value)) for name, value in result.items()}
    train(loss, 5)
    for name, value in result.items():
        np.testing.assert_array_equal(array(value), before[name], err_msg=name)


def test_not_a_number_stays_out_of_the_memory():
    loss = dynamic()
    train(loss, 4)
    before = snapshot(loss)
    for value in (np.nan, np.inf, -np.inf):
        y_true, y_pred = images(0)
        y_pred[0, 0, 0] = value
        loss(y_true, y_pred)
        for name in ("memory_history", "step", "weights"):
            path = f"compound/{name}"
            np.testing.assert_array_equal(snapshot(loss)[path], before[path], err_msg=path)
    train(loss, 1)
    assert np.isfinite(array(loss.state.weights_now.value)).all()


def test_restart():
    loss, fresh = full(), full()
    before = snapshot(fresh)
    train(loss, 6)
    loss.restart()
    for (path, value), start in zip(snapshot(loss).items(), before.values(), strict=True):
        np.testing.assert_array_equal(value, start, err_msg=path)
    np.testing.assert_array_equal(train(loss, 4), train(fresh, 4))


def test_restart_goes_to_assigned_weights():
    loss = dynamic()
    loss.assign(weights={"focal": 0.1})
    train(loss, 6)
    loss.restart()
    check(loss.state.weights_now.value, [0.1, 0.7])


# ---- refusals -----------------------------------------------------------------------------------

DICE = kerasloss.Dice()


@pytest.mark.parametrize(
    "terms",
    [
        [DICE],
        DICE,
        None,
        {},
        {"": DICE},
        {"a/b": DICE},
        {3: DICE},
        *({name: DICE} for name in ("weights", "weighting", "loss")),
        *({name: DICE} for name in ("auxiliary_scale", "auxiliary_decay")),
        {"dice": "dice"},
        {"dice": kerasloss.dice},
        {"dice": kerasloss.Dice},
        {"mse": keras.losses.MeanSquaredError()},
        {"all": kerasloss.Compound({"dice": DICE})},
    ],
    ids=str,
)
def test_bad_terms(terms):
    with pytest.raises(ValueError, match="Compound"):
        kerasloss.Compound(terms)


@pytest.mark.parametrize(
    "options",
    [
        {"weights": [0.3, 0.7]},
        {"weights": {"dice": 1.0}},
        {"weights": WEIGHTS | {"iou": 1.0}},
        *({"weights": {"focal": 1.0, "dice": value}} for value in (-0.1, NAN, "1", None, True)),
        {"weights": {"focal": 0.0, "dice": 0}},
        {"weighting": "mad"},
        {"weighting": DynamicMemoryFusion},
        {"weighting": DICE},
        {"auxiliary": "dice"},
        {"auxiliary": keras.losses.MeanSquaredError()},
        {"auxiliary": kerasloss.Compound({"dice": DICE})},
        {"auxiliary": DICE, "auxiliary_scale": -1.0},
        {"auxiliary": DICE, "auxiliary_decay": NAN},
        {"reduction": "median"},
    ],
    ids=str,
)
def test_bad_options(options):
    with pytest.raises(ValueError):
        kerasloss.Compound(two_terms(), **options)


def test_term_named_auxiliary_beside_an_auxiliary():
    with pytest.raises(ValueError, match="auxiliary"):
        kerasloss.Compound({"auxiliary": DICE}, auxiliary=DICE)


def test_unknown_argument():
    with pytest.raises(TypeError, match="weigths"):
        kerasloss.Compound(two_terms(), weigths=WEIGHTS)
