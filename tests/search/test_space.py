"""The search space: every point is a loss, and every loss can be made."""

import random

import pytest
from kerasloss_search.space import BASELINES, TERMS, Choice, Range, Recipe, Space


def draw(space: Space, seed: int) -> dict[str, object]:
    rng = random.Random(seed)
    return {
        name: rng.choice(limits.options)
        if isinstance(limits, Choice)
        else rng.uniform(limits.low, limits.high)
        for name, limits in space.dimensions.items()
    }


@pytest.mark.parametrize("seed", range(20))
def test_every_point_decodes_to_weights_on_a_simplex(seed):
    space = Space(steps=100)
    params = draw(space, seed)
    recipe = space.decode(params)
    assert sum(recipe.weights.values()) == pytest.approx(1.0)
    assert 1 <= len(recipe.terms) <= space.max_terms
    assert set(recipe.options) == set(recipe.terms)
    for term in recipe.terms:
        for option, value in recipe.options[term].items():
            assert value == params[f"{term}/{option}"]
    if recipe.strategy != "static":
        assert 5.0 <= recipe.warmup <= 50.0


def test_the_largest_shares_win_when_too_many_terms_are_chosen():
    space = Space(terms=("dice", "iou", "focal", "cross_entropy"), max_terms=2)
    params = draw(space, 0)
    for share, term in enumerate(space.terms, start=1):
        params[f"use/{term}"], params[f"share/{term}"] = True, share / 4
    recipe = space.decode(params)
    assert recipe.terms == ("focal", "cross_entropy")
    assert recipe.weights["cross_entropy"] == pytest.approx(4 / 7)


def test_no_chosen_term_means_the_largest_share():
    space = Space()
    params = draw(space, 1)
    for term in space.terms:
        params[f"use/{term}"], params[f"share/{term}"] = False, 0.1
    params["share/tversky"] = 0.2
    assert space.decode(params).terms == ("tversky",)


def test_a_single_term_has_no_strategy():
    space = Space()
    params = {**space.baselines()["dice"], "strategy": "mad"}
    assert space.decode(params).strategy == "static"


def test_baselines_are_the_plain_losses():
    space = Space()
    decoded = {name: space.decode(params) for name, params in space.baselines().items()}
    assert set(decoded) == set(BASELINES)
    for name, recipe in decoded.items():
        assert {term: recipe.weights[term] for term in recipe.terms} == BASELINES[name]
        assert recipe.strategy == "static"
        assert recipe.auxiliary_scale == 0.0
        assert recipe.learning_rate == space.usual_learning_rate


def test_baselines_need_their_terms():
    assert list(Space(terms=("dice", "focal")).baselines()) == ["dice", "focal"]


@pytest.mark.parametrize(
    ("terms", "auxiliary", "family"),
    [
        (("dice", "iou"), False, "region"),
        (("focal",), False, "distribution"),
        (("focal",), True, "mixed"),
        (("dice", "cross_entropy"), False, "mixed"),
        (("tversky",), True, "region"),
    ],
)
def test_family(terms, auxiliary, family):
    space = Space()
    params = draw(space, 4)
    for term in space.terms:
        params[f"use/{term}"] = term in terms
    params["auxiliary"] = auxiliary
    assert space.decode(params).family == family


def test_unknown_terms_are_refused():
    with pytest.raises(ValueError, match="dicee"):
        Space(terms=("dicee", "focal"))


def test_the_fingerprint_sees_the_space():
    assert Space().fingerprint == Space().fingerprint
    assert Space().fingerprint != Space(max_terms=2).fingerprint
    assert Space().fingerprint != Space(terms=("dice", "focal")).fingerprint
    narrow = Space(learning_rate=Range(1e-3, 1e-2, log=True))
    assert Space().fingerprint != narrow.fingerprint


def test_the_label_names_the_terms_by_weight():
    recipe = Recipe({"dice": 0.3, "focal": 0.7, "iou": 0.0}, {}, "mad", 10, 0.0, 0.1, 1e-3)
    assert recipe.label == "0.70 focal + 0.30 dice (mad)"


def test_usual_values_lie_in_their_ranges():
    for term in TERMS.values():
        assert set(term.usual) == set(term.ranges)
        for option, limits in term.ranges.items():
            assert limits.low <= term.usual[option] <= limits.high
