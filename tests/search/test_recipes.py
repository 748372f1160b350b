"""A recipe gives one loss, whether it rides in the compound of all terms or stands alone."""

import dataclasses
import random
import sys
import types

import keras
import numpy as np
import pytest
from backend_tools import grad
from kerasloss_search import recipes
from kerasloss_search.catalogue import TERMS, Choice, Range
from kerasloss_search.space import FUSED, OWN_STEP, Space

import kerasloss

pytestmark = pytest.mark.backend

SPACE = Space(steps=50)


def drawn(seed):
    rng = random.Random(seed)
    return SPACE.decode(
        {
            name: rng.choice(limits.options)
            if isinstance(limits, Choice)
            else rng.uniform(limits.low, limits.high)
            for name, limits in SPACE.dimensions.items()
        }
    )


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(0)
    truth = np.zeros((2, 12, 12), "int32")
    truth[0, 2:6, 3:9], truth[1, 8:10, 1:4] = 1, 1
    return truth, rng.uniform(0.05, 0.95, (2, 12, 12, 1)).astype("float32")


@pytest.fixture(scope="module")
def shared():
    compound = recipes.compound_for(SPACE, drawn(0), {})
    compound.state.reset_state()  # taken out, so that it may be called without a model
    return compound


def number(value):
    return float(keras.ops.convert_to_numpy(value))


@pytest.mark.parametrize("strategy", FUSED)
@pytest.mark.parametrize("seed", range(3))
def test_shared_and_standalone_agree(scene, shared, seed, strategy):
    truth, prediction = scene
    drawings = (drawn(seed) for seed in range(100 * seed, 100 * (seed + 1)))
    recipe = next(r for r in drawings if len(r.terms) > 1 and r.strategy == strategy)
    if strategy != "static":
        recipe = dataclasses.replace(recipe, warmup=2.0)
    recipes.apply(shared, recipe)
    alone = recipes.standalone(SPACE, recipe, {})
    alone.state.reset_state()
    used = [list(SPACE.terms).index(term) for term in recipe.terms]
    for step in range(5):
        given = truth, prediction ** (1.0 + 0.3 * step)
        assert number(shared(*given)) == pytest.approx(number(alone(*given)), rel=1e-5)
        weights = keras.ops.convert_to_numpy(shared.state.weights_now.value)
        ours = keras.ops.convert_to_numpy(alone.state.weights_now.value)
        np.testing.assert_allclose(weights[used], ours, rtol=1e-4)
        assert weights.sum() == pytest.approx(1.0)
    start = [recipe.weights[term] for term in recipe.terms]
    assert (np.abs(ours - start).max() > 1e-3) == (strategy != "static")


@pytest.mark.parametrize("baseline", SPACE.baselines())
def test_a_plain_loss_is_worth_the_same_in_company(scene, shared, baseline):
    recipe = SPACE.decode(SPACE.baselines()[baseline])
    recipes.apply(shared, recipe)
    alone = recipes.standalone(SPACE, recipe, {})
    assert number(shared(*scene)) == pytest.approx(number(alone(*scene)), rel=1e-5)


@pytest.mark.parametrize("from_logits", [False, True])
def test_terms_that_ride_along_bring_no_nan(from_logits):
    """0 times NaN is NaN: value and gradient are those of the loss alone at any prediction."""
    truth = np.zeros((3, 8, 8), "int32")
    truth[0, 2:5, 3:7], truth[1] = 1, 1  # and an empty image
    ends = (-1e4, 1e4) if from_logits else (0.0, 1.0)
    prediction = np.random.default_rng(0).choice(ends, (3, 8, 8, 1)).astype("float32")
    recipe = SPACE.decode(SPACE.baselines()["dice"])
    common = {"from_logits": from_logits}
    shared = recipes.compound_for(SPACE, recipe, common)
    shared.state.reset_state()
    recipes.apply(shared, recipe)
    alone = recipes.standalone(SPACE, recipe, common)
    assert len(shared.terms) == len(SPACE.terms) > 1
    assert number(shared(truth, prediction)) == pytest.approx(number(alone(truth, prediction)))
    ours = grad(lambda p: shared(truth, p), prediction)
    expected = grad(lambda p: alone(truth, p), prediction)
    np.testing.assert_allclose(ours, expected, atol=1e-7)


def test_a_trial_leaves_nothing_to_the_next(scene, shared):
    recipe = next(r for r in map(drawn, range(100)) if r.strategy == "mad")
    recipes.apply(shared, recipe)
    first = [number(shared(*scene)) for _ in range(6)]
    recipes.apply(shared, next(r for r in map(drawn, range(100, 200)) if r.strategy == "mad"))
    shared(*scene)
    recipes.apply(shared, recipe)
    assert [number(shared(*scene)) for _ in range(6)] == first


def test_changed_ranges_and_kept_values_count_in_a_shared_step(scene):
    """The step may have been compiled while the term only rode along."""
    ranges = {"focal": {"gamma": 3.5, "alpha": Range(0.2, 0.3)}, "dice": {"smooth": 40.0}}
    space = Space.of(("cross_entropy", "focal", "dice"), ranges, auxiliary=None)
    params = {
        name: limits.options[0] if isinstance(limits, Choice) else limits.high
        for name, limits in space.dimensions.items()
    }
    first = space.decode({**params, "use/cross_entropy": True})
    second = space.decode({**params, "use/focal": True, "use/dice": True})
    assert first.terms == ("cross_entropy",) and set(second.terms) == {"focal", "dice"}
    shared = recipes.compound_for(space, first, {})
    shared.state.reset_state()
    recipes.apply(shared, second)
    expected = 0.5 * kerasloss.Focal(gamma=3.5, alpha=0.3)(*scene)
    expected += 0.5 * kerasloss.Dice(smooth=40.0)(*scene)
    assert number(shared(*scene)) == pytest.approx(number(expected), rel=1e-5)


def test_a_plain_loss_is_the_loss_itself():
    loss = recipes.standalone(SPACE, SPACE.decode(SPACE.baselines()["dice"]), {"ignore_class": 255})
    assert type(loss) is kerasloss.Dice
    assert loss.ignore_class == 255


def test_every_term_is_a_loss_with_the_options_it_names():
    for term, spec in TERMS.items():
        made = recipes._loss(term, spec.fixed, spec.usual, {"from_logits": True})
        config = made.get_config()
        assert config["from_logits"] is True
        for option, value in {**spec.usual, **spec.fixed}.items():
            assert config[option] == value


class Mine(kerasloss.losses.SegmentationLoss):
    """A user's own loss, with a number that is a constant of its step."""

    def __init__(self, power=1.0, from_logits=False, **options):
        super().__init__(power=power, from_logits=from_logits, **options)
        self.power = power

    def cost(self, y_true, y_pred, sample_weight=None):
        error = keras.ops.abs(keras.ops.cast(y_true, "float32")[..., None] - y_pred)
        return keras.ops.mean(error**self.power, axis=(1, 2, 3))


@pytest.mark.parametrize("strategy", OWN_STEP)
def test_a_strategy_with_its_own_step_agrees_with_standalone(scene, strategy):
    space = Space.of(("dice", "focal", "iou"), strategies=("static", strategy), steps=50)
    params = space.baselines()["dice"] | {"use/focal": True, "strategy": strategy}
    recipe = space.decode(params)
    if strategy == "random":
        pytest.skip("draws for unused terms, too: other numbers of the same distribution")
    ours, alone = recipes.compound_for(space, recipe, {}), recipes.standalone(space, recipe, {})
    recipes.apply(ours, recipe)
    assert set(alone.terms) == {"dice", "focal"}
    for compound in (ours, alone):
        compound.state.reset_state()
    for step in range(4):
        given = scene[0], scene[1] ** (1.0 + 0.3 * step)
        assert number(ours(*given)) == pytest.approx(number(alone(*given)), rel=1e-5)


class Loudest(kerasloss.weighting.Weighting):
    """A user's own strategy, which counts every term that it sees."""

    def memory_for(self, terms):
        return {}

    def update(self, seen, memory):
        return keras.ops.softmax(seen.values), memory


def test_a_strategy_of_the_user_sees_the_terms_of_its_trial_alone(scene, monkeypatch):
    module = types.ModuleType("mine")
    module.Loudest = Loudest
    monkeypatch.setitem(sys.modules, "mine", module)
    space = Space.of(
        ("dice", "focal", "iou", "cross_entropy"), strategies=("static", "mine:Loudest"), steps=50
    )
    params = space.baselines()["dice"] | {"use/focal": True, "strategy": "mine:Loudest"}
    recipe = space.decode(params)
    ours, alone = recipes.compound_for(space, recipe, {}), recipes.standalone(space, recipe, {})
    recipes.apply(ours, recipe)
    for compound in (ours, alone):
        compound.state.reset_state()
    for step in range(3):
        given = scene[0], scene[1] ** (1.0 + 0.3 * step)
        assert number(ours(*given)) == pytest.approx(number(alone(*given)), rel=1e-5)
    other = space.decode({**params, "use/iou": True})
    assert space.structure(other) != space.structure(recipe)


def test_names_that_are_no_losses_or_strategies_are_refused():
    with pytest.raises(ValueError, match="no_such_module"):
        recipes._loss("no_such_module:Loss", {}, {}, {})
    with pytest.raises(ValueError, match="OrderedDict.*SegmentationLoss"):
        recipes._loss("collections:OrderedDict", {}, {}, {})
    with pytest.raises(ValueError, match="Weighting"):
        recipes.strategy_named("collections:OrderedDict")
    with pytest.raises(ValueError, match="learns"):
        recipes.strategy_named("kerasloss.weighting:Uncertainty")
    assert isinstance(
        recipes.strategy_named("kerasloss.weighting:SoftAdapt"), kerasloss.weighting.SoftAdapt
    )
