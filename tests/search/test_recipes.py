"""A recipe gives one loss, whether it rides in the compound of all terms or stands alone."""

import dataclasses
import random

import keras
import numpy as np
import pytest
from kerasloss_search import recipes
from kerasloss_search.space import STRATEGIES, TERMS, Choice, Space

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
    compound = recipes.every_term(SPACE, {})
    compound.state.reset_state()  # taken out, so that it may be called without a model
    return compound


def number(value):
    return float(keras.ops.convert_to_numpy(value))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(3))
def test_shared_and_standalone_agree(scene, shared, seed, strategy):
    truth, prediction = scene
    drawings = (drawn(seed) for seed in range(100 * seed, 100 * (seed + 1)))
    recipe = next(r for r in drawings if len(r.terms) > 1 and r.strategy == strategy)
    if strategy != "static":
        recipe = dataclasses.replace(recipe, warmup=2.0)
    recipes.apply(shared, recipe)
    alone = recipes.standalone(recipe, {})
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
    alone = recipes.standalone(recipe, {})
    assert number(shared(*scene)) == pytest.approx(number(alone(*scene)), rel=1e-5)


def test_a_trial_leaves_nothing_to_the_next(scene, shared):
    recipe = next(r for r in map(drawn, range(100)) if r.strategy == "mad")
    recipes.apply(shared, recipe)
    first = [number(shared(*scene)) for _ in range(6)]
    recipes.apply(shared, next(r for r in map(drawn, range(100, 200)) if r.strategy == "mad"))
    shared(*scene)
    recipes.apply(shared, recipe)
    assert [number(shared(*scene)) for _ in range(6)] == first


def test_a_plain_loss_is_the_loss_itself():
    loss = recipes.standalone(SPACE.decode(SPACE.baselines()["dice"]), {"ignore_class": 255})
    assert type(loss) is kerasloss.Dice
    assert loss.ignore_class == 255


def test_every_term_is_a_loss_with_the_options_it_names():
    for term, spec in TERMS.items():
        config = recipes._loss(term, spec.usual, {"from_logits": True}).get_config()
        assert config["from_logits"] is True
        for option, value in {**spec.usual, **spec.fixed}.items():
            assert config[option] == value
