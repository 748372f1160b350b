"""A recipe gives one loss, whether it rides in the compound of all terms or stands alone."""

import random

import keras
import numpy as np
import pytest
from kerasloss_search import recipes
from kerasloss_search.space import TERMS, Choice, Space

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
    compounds = {
        structure: recipes.every_term(SPACE, structure, {}) for structure in ("var", "mad", "bayes")
    }
    for compound in compounds.values():
        compound.state.reset_state()  # taken out, so that it may be called without a model
    return compounds


def number(value):
    return float(keras.ops.convert_to_numpy(value))


@pytest.mark.parametrize("seed", range(8))
def test_shared_and_standalone_agree(scene, shared, seed):
    recipe = drawn(seed)
    compound = shared[recipe.structure]
    recipes.apply(compound, recipe)
    alone = recipes.standalone(recipe, {})
    if isinstance(alone, kerasloss.Compound):
        alone.state.reset_state()
        for _ in range(3):
            assert number(compound(*scene)) == pytest.approx(number(alone(*scene)), rel=1e-5)
        moved = keras.ops.convert_to_numpy(compound.state.weights_now.value)
        used = [list(SPACE.terms).index(term) for term in recipe.terms]
        ours = keras.ops.convert_to_numpy(alone.state.weights_now.value)
        np.testing.assert_allclose(moved[used], ours, rtol=1e-5)
        assert moved.sum() == pytest.approx(1.0)
    else:
        assert number(compound(*scene)) == pytest.approx(number(alone(*scene)), rel=1e-5)


def test_a_trial_leaves_nothing_to_the_next(scene, shared):
    compound = shared["mad"]
    recipe = next(r for r in map(drawn, range(100)) if r.strategy == "mad")
    recipes.apply(compound, recipe)
    first = [number(compound(*scene)) for _ in range(6)]
    recipes.apply(compound, next(r for r in map(drawn, range(100, 200)) if r.strategy == "mad"))
    compound(*scene)
    recipes.apply(compound, recipe)
    assert [number(compound(*scene)) for _ in range(6)] == first


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
