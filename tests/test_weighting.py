"""Dynamic memory fusion: term values in, weights out, against a float64 implementation.

The strategies alone, fed recorded series as the state of a compound feeds them. What happens
inside `fit` is in `test_dynamic_weighting.py`.
"""

import functools
import json

import keras
import numpy as np
import oracle_weighting as oracle
import pytest
from backend_tools import array, jit
from keras import ops

from kerasloss.weighting import DynamicMemoryFusion, Seen, Weighting

# NumPy 2.4 warns about `np.array(variable)`, which Keras 3.15 itself calls.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

METHODS = ["var", "mad", "bayes"]
COMMON = {"every": "batch", "smoothing": 0.0, "minimum": 0.0, "total": None}
every_method = pytest.mark.parametrize("method", METHODS)

# The histories of the golden values.
H1 = [2, 1.5, 1.2, 1, 0.9, 0.8]
H2 = [0.9, 0.7, 0.8, 0.6, 0.5, 0.55]
H3 = [0.95, 0.94, 0.92, 0.93, 0.91, 0.90]


@functools.cache
def compiled(method, memory):
    """`update` as it runs in a training step, where a compound gives it `warmup` as a variable."""
    strategy = DynamicMemoryFusion(method=method, memory=memory)

    def update(warmup, history, values, step, weights, active):
        strategy.warmup = warmup
        terms = tuple(map(str, range(values.shape[0])))
        seen = Seen(terms, values, step, weights, active)
        weights, memory = strategy.update(seen, {"history": history})
        return weights, memory["history"]

    return jit(update)


def feed(rows, start, *, method="var", memory=150, warmup=50, empty=0.0):
    """The weights after each row of term values. `empty` fills the rows not yet remembered."""
    rows = np.asarray(rows, "float32")
    start = np.asarray(start, "float32")
    active = ops.convert_to_tensor((start > 0).astype("float32"))
    update = compiled(method, memory)
    history = ops.convert_to_tensor(np.full((memory, len(start)), empty, "float32"))
    weights, collected = ops.convert_to_tensor(start), []
    for step, row in enumerate(rows, start=1):
        weights, history = update(
            ops.convert_to_tensor(np.float32(warmup)),
            history,
            ops.convert_to_tensor(row),
            ops.convert_to_tensor(np.int32(step)),
            weights,
            active,
        )
        collected.append(np.array(array(weights)))
    return np.stack(collected)


def expected(rows, start, **options):
    fusion = oracle.Fusion(np.asarray(start, "float32"), **options)
    return np.array([fusion.step(row) for row in np.asarray(rows, "float32").tolist()])


def check(rows, start, atol=2e-5, **options):
    actual = feed(rows, start, **options)
    np.testing.assert_allclose(actual, expected(rows, start, **options), atol=atol)
    np.testing.assert_allclose(actual.sum(axis=1), 1, atol=1e-5)
    return actual


def uniform(terms):
    return np.full(terms, 1 / terms)


def series(kind, steps, terms):
    """Term values of `steps` steps, each term with its own spread."""
    rng = np.random.default_rng([steps, terms])
    noise = rng.normal(size=(steps, terms)) * np.geomspace(0.05, 0.5, terms)
    falling = 1 + np.exp(-np.linspace(0, 2, steps))[:, None]
    if kind == "falling":
        return falling + noise
    if kind == "negative":
        return -3 * falling + noise
    if kind == "both signs":
        return 5 * noise
    if kind == "huge":
        return np.sign(noise) * 10 ** rng.uniform(0, 35, size=(steps, terms))
    if kind == "ties":
        return rng.integers(0, 3, size=(steps, terms)) / 4
    if kind == "one constant":
        return np.where(np.arange(terms) == 0, 0.7, falling + noise)
    assert kind == "all constant"
    return np.broadcast_to(np.linspace(0.2, 0.9, terms), (steps, terms))


KINDS = ["falling", "negative", "both signs", "huge", "ties", "one constant", "all constant"]


# ---- the published values -----------------------------------------------------------------------


@pytest.mark.parametrize("memory", [6, 10])
@pytest.mark.parametrize(
    ("method", "golden"),
    [("var", [0.327552, 0.346185, 0.326263]), ("mad", [0.384339, 0.299691, 0.315970])],
)
def test_golden_values(method, golden, memory):
    rows = np.stack([H1, H2, H3], axis=1)
    weights = feed(rows, uniform(3), method=method, memory=memory, warmup=6)
    np.testing.assert_allclose(weights[-1], golden, atol=3e-6)
    np.testing.assert_allclose(
        expected(rows, uniform(3), method=method, warmup=6)[-1], golden, atol=1e-6
    )


def test_golden_deviations_of_the_oracle():
    deviations = [oracle.deviation(oracle.scaled(h)) for h in (H1, H2, H3)]
    np.testing.assert_allclose(deviations, [0.246624, 0.316283, 0.299988], atol=1e-6)
    gammas = [oracle.auxiliary_weight(step, scale=5, decay=0.05) for step in (0, 10, 50)]
    np.testing.assert_allclose(gammas, [5, 3.032653, 0.410425], atol=1e-6)


# ---- against the oracle -------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize(("terms", "memory"), [(1, 8), (3, 8), (2, 5), (5, 40)])
def test_follows_the_oracle(method, terms, memory):
    """Step by step, so with odd and even counts, while the memory fills and after."""
    for kind in KINDS:
        rows = series(kind, 20, terms)
        atol = 2e-4 if kind == "huge" else 2e-5  # float32 logarithms of 1e35
        check(rows, uniform(terms), atol, method=method, memory=memory, warmup=2)


@every_method
@pytest.mark.parametrize("warmup", [3, 12])
def test_starting_weights_stay_during_warmup(method, warmup):
    """Also with a warm-up longer than the memory: the count is of steps, not of rows."""
    start = [0.2, 0.5, 0.3]
    weights = check(series("falling", 16, 3), start, method=method, memory=8, warmup=warmup)
    np.testing.assert_array_equal(
        weights[: warmup - 1], np.tile(np.float32(start), (warmup - 1, 1))
    )
    assert (abs(weights[warmup - 1] - start) > 1e-3).any()


@every_method
def test_starting_weights_matter_to_bayes_alone(method):
    rows = series("falling", 12, 3)
    one = feed(rows, uniform(3), method=method, memory=8, warmup=5)[4]
    other = feed(rows, [0.8, 0.1, 0.1], method=method, memory=8, warmup=5)[4]
    assert np.allclose(one, other, atol=1e-5) == (method != "bayes")


@every_method
@pytest.mark.parametrize("start", [[0.5, 0, 0.5], [0, 0.3, 0.7], [0, 0, 1], [0.4, 0.6, 0]])
@pytest.mark.parametrize("kind", ["falling", "one constant", "all constant"])
def test_weight_zero_stays_zero(method, start, kind):
    weights = check(series(kind, 20, 3), start, method=method, memory=8, warmup=4)
    np.testing.assert_array_equal(weights[:, np.array(start) == 0], 0)


def test_var_of_constant_active_terms():
    """What varies has the weight 0: nothing to prefer among the others."""
    rows = np.stack([H1, [0.7] * 6, [0.9] * 6], axis=1)
    weights = feed(rows, [0, 0.9, 0.1], method="var", memory=8, warmup=3)
    np.testing.assert_allclose(weights[-1], [0, 0.5, 0.5], atol=1e-6)


@every_method
def test_rows_not_yet_remembered_do_not_matter(method):
    rows = series("falling", 7, 3)
    clean = feed(rows, uniform(3), method=method, memory=8, warmup=2)
    for rubbish in (1e9, -5.0, np.nan):
        weights = feed(rows, uniform(3), method=method, memory=8, warmup=2, empty=rubbish)
        np.testing.assert_allclose(weights, clean, atol=1e-6)


@every_method
def test_steps_that_left_the_memory_do_not_matter(method):
    rows = series("falling", 13, 3)
    other = rows.copy()
    other[:5] = 100 * other[:5] - 7
    weights = [feed(r, uniform(3), method=method, memory=8, warmup=13) for r in (rows, other)]
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-6)


def test_directions():
    """What the docstring promises: `var` prefers the varying loss, the others the steady one."""
    rng = np.random.default_rng(3)
    spread = rng.uniform(0, 1, size=40)
    steady = np.r_[0, 1, rng.uniform(0.49, 0.51, size=38)]  # nearly all in the middle
    rows = np.stack([spread, steady], axis=1)
    last = {
        method: feed(rows, uniform(2), method=method, memory=40, warmup=40)[-1]
        for method in METHODS
    }
    assert last["var"][0] > 0.6
    assert last["mad"][1] > 0.9
    assert last["bayes"][1] > 0.5


# ---- bayes, tempered ----------------------------------------------------------------------------


def uneven(steps, count, seed=0):
    """Series with the MADs under which the published update collapses: .179, .166, .00106."""
    rng = np.random.default_rng(seed)
    middle = [2 * 0.179, 2 * 0.166, 2 * 0.00106]  # |uniform(-a, a)| has the median a / 2
    rows = 0.5 + rng.uniform(-1, 1, size=(steps, 3)) * middle
    rows[:: count // 2], rows[1 :: count // 2] = 0, 1  # every memory spans 0..1
    return np.expm1(rows)


def test_bayes_does_not_collapse():
    memory = 100
    rows = uneven(2000, memory)
    found = [oracle.deviation(oracle.scaled(rows[-memory:, term])) for term in range(3)]
    np.testing.assert_allclose(found, [0.179, 0.166, 0.00106], rtol=0.25)
    weights = feed(rows, uniform(3), method="bayes", memory=memory, warmup=2)
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    count = np.minimum(np.arange(1, 2001), memory)
    assert (weights >= 1 / (3 * count[:, None]) - 1e-6).all()
    assert (weights[10 * memory :] >= 1 / (3 * (1 + np.log(1000)))).all()
    assert weights[-1].argmax() == 2
    fusion = expected(rows[: 3 * memory], uniform(3), method="bayes", memory=memory, warmup=2)
    np.testing.assert_allclose(weights[: 3 * memory], fusion, atol=1e-4)


def test_bayes_bound_at_rest():
    """The most uneven evidence there can be: a MAD of 1/2 against one of 0."""
    steps = np.arange(600)
    widest, narrowest = steps % 2, np.where(steps % 10 < 2, steps % 2, 0.5)
    weights = feed(np.stack([widest, narrowest], axis=1), uniform(2), method="bayes", memory=40)
    assert weights[-1, 0] < 0.2  # the bound is .063
    assert (weights[:, 0] >= 1 / (2 * (1 + np.log(1000)))).all()


def test_bayes_gives_weight_back():
    """Once the losses change roles the weights follow within a few memories."""
    rows = uneven(600, 20)
    rows[300:] = rows[300:, ::-1]
    weights = feed(rows, uniform(3), method="bayes", memory=20, warmup=2)
    np.testing.assert_array_equal(weights[[299, 360, 599]].argmax(axis=1), [2, 0, 0])


# ---- options ------------------------------------------------------------------------------------


def test_defaults():
    config = DynamicMemoryFusion().get_config()
    assert config == {"method": "var", "warmup": 50, "memory": 150} | COMMON
    assert isinstance(DynamicMemoryFusion(), Weighting)


@every_method
def test_config_round_trip(method):
    passed = {"method": method, "warmup": 7, "memory": 9} | COMMON | {"minimum": 0.1}
    strategy = DynamicMemoryFusion(**passed)
    assert strategy.get_config() == passed
    assert DynamicMemoryFusion.from_config(strategy.get_config()).get_config() == passed
    text = json.dumps(keras.saving.serialize_keras_object(strategy))
    restored = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(restored) is DynamicMemoryFusion
    assert restored.get_config() == passed


@every_method
def test_warmup_may_be_a_variable(method):
    warmup = keras.Variable(3.0, dtype="float32")
    strategy = DynamicMemoryFusion(method=method, warmup=warmup, memory=4)
    assert strategy.get_config()["warmup"] == 3
    rows = ops.convert_to_tensor(series("falling", 4, 2).astype("float32"))
    start, active = ops.convert_to_tensor([0.9, 0.1]), ops.ones(2)
    seen = Seen(("a", "b"), rows[-1], ops.convert_to_tensor(np.int32(4)), start, active)
    moved = array(strategy.update(seen, {"history": rows})[0])
    warmup.assign(5.0)
    stayed = array(strategy.update(seen, {"history": rows})[0])
    np.testing.assert_array_equal(stayed, array(start))
    assert (moved != stayed).any()


@pytest.mark.parametrize(
    "options",
    [
        {"method": "mean"},
        {"method": None},
        {"method": ["var"]},
        {"warmup": 1},
        {"warmup": 0},
        {"warmup": -3},
        {"warmup": float("nan")},
        {"warmup": float("inf")},
        {"warmup": "50"},
        {"warmup": True},
        {"warmup": None},
        {"memory": 1},
        {"memory": 2.5},
        {"memory": float("inf")},
        {"memory": "150"},
        {"memory": None},
    ],
    ids=str,
)
def test_bad_arguments(options):
    with pytest.raises(ValueError, match="DynamicMemoryFusion") as fault:
        DynamicMemoryFusion(**options)
    assert next(iter(options)) in str(fault.value)


def test_bad_shape_of_a_variable():
    with pytest.raises(ValueError, match="scalar"):
        DynamicMemoryFusion(warmup=keras.Variable([3.0, 4.0]))


def test_arguments_are_keyword_only():
    with pytest.raises(TypeError):
        DynamicMemoryFusion("mad")
