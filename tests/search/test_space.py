"""The search space: every point is a loss, and every loss can be made."""

import random

import pytest
from kerasloss_search.catalogue import BASELINES, TERMS, Choice, Range
from kerasloss_search.space import STRATEGIES, Recipe, Space


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
    space = Space.of(("dice", "iou", "focal", "cross_entropy"), max_terms=2)
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
    assert list(Space.of(("dice", "focal")).baselines()) == ["dice", "focal"]


@pytest.mark.parametrize(
    ("terms", "auxiliary", "family"),
    [
        (("dice", "iou"), False, "region"),
        (("focal",), False, "distribution"),
        (("focal",), True, "distribution+region"),
        (("dice", "cross_entropy"), False, "distribution+region"),
        (("tversky",), True, "region"),
        (("dice", "boundary"), False, "boundary+region"),
        (("unified_focal",), False, "distribution+region"),
        (("unified_focal", "dice"), False, "distribution+region"),
        (("mylab.losses:Rim",), False, "mylab.losses:Rim"),
        (("mylab.losses:Rim", "focal"), False, "distribution+mylab.losses:Rim"),
    ],
)
def test_family(terms, auxiliary, family):
    names = ("dice", "iou", "focal", "cross_entropy", "tversky", "boundary", "unified_focal")
    space = Space.of((*names, "mylab.losses:Rim"))
    params = draw(space, 4)
    for term in space.terms:
        params[f"use/{term}"] = term in terms
    params["auxiliary"] = auxiliary
    assert space.decode(params).family == family


def test_unknown_terms_are_refused():
    with pytest.raises(ValueError, match="dicee"):
        Space.of(("dicee", "focal"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Space.of(("dice",)), "at least two"),
        (lambda: Space(strategies=("var",)), "static"),
        (lambda: Space(strategies=("static", "varr")), "varr"),
        (lambda: Space(strategies=("static", "uncertainty")), "uncertainty"),
        (lambda: Space(optimizers=("adamm",)), "adamm"),
        (lambda: Space(optimizers=()), "at least one"),
        (lambda: Space(auxiliary="cbdice"), "cbdice"),
        (lambda: Space.of((), {"lovasz": {"x": 1.0}}), "lovasz.*not among"),
        (lambda: Space.of(("dice", "my losses:Mine")), "my losses:Mine"),
    ],
)
def test_what_is_no_space_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_ranges_and_fixed_values_replace_the_usual_ones():
    ranges = {"focal": {"gamma": Range(1.0, 2.0)}, "tversky": {"alpha": 0.2}}
    space = Space.of(("focal", "tversky", "dice"), ranges)
    assert space.dimensions["focal/gamma"] == Range(1.0, 2.0)
    assert "tversky/alpha" not in space.dimensions
    assert space.terms["tversky"].fixed == {"alpha": 0.2}
    assert space.fingerprint != Space.of(("focal", "tversky", "dice")).fingerprint
    assert (
        space.fingerprint
        != Space.of(("focal", "tversky", "dice"), {**ranges, "tversky": {"alpha": 0.3}}).fingerprint
    )


def test_what_a_recipe_makes_use_of():
    space = Space.of(("dice", "focal", "tversky"), max_terms=2)
    params = draw(space, 0) | {"use/dice": True, "use/focal": False, "use/tversky": True}
    params |= {"strategy": "static", "auxiliary": False}
    always = {"use/dice", "use/focal", "use/tversky", "auxiliary", "learning_rate"}
    several = {"share/dice", "share/tversky", "strategy", "tversky/alpha", "tversky/beta"}
    assert space.used(params) == always | several
    assert space.used({**params, "use/tversky": False}) == always
    moving = {**params, "strategy": "mad", "auxiliary": True}
    auxiliary = {"warmup", "auxiliary_scale", "auxiliary_half_life"}
    assert space.used(moving) == always | several | auxiliary
    # The warm-up is that of the memory fusion alone.
    space = Space.of(("dice", "tversky"), strategies=("static", "relobralo"), auxiliary=None)
    params = draw(space, 0) | {"use/dice": True, "use/tversky": True, "strategy": "relobralo"}
    assert "strategy" in space.used(params) and "warmup" not in space.used(params)


def test_without_an_auxiliary_term_there_is_none():
    space = Space(auxiliary=None)
    assert not [name for name in space.dimensions if name.startswith("auxiliary")]
    assert space.decode(draw(space, 0)).auxiliary_scale == 0.0


def test_one_structure_serves_all_cheap_losses():
    space = Space()
    found = {space.structure(space.decode(draw(space, seed))) for seed in range(50)}
    assert found == {("optimizer adam",)}


def test_what_needs_a_step_of_its_own_has_another_structure():
    space = Space.of(
        ("dice", "focal", "lovasz", "mine:Loss"),
        {"mine:Loss": {"x": Range(0.0, 1.0)}},
        strategies=STRATEGIES,
        optimizers=("adam", "sgd"),
    )
    plain = {**draw(space, 0), "strategy": "static", "optimizer": "adam"}
    for term in space.terms:
        plain[f"use/{term}"], plain[f"share/{term}"] = term in ("dice", "focal"), 0.5

    def structure(**changes):
        return space.structure(space.decode({**plain, **changes}))

    base = structure()
    assert structure(**{"focal/gamma": 3.0, "share/dice": 0.1, "strategy": "mad"}) == base
    others = [
        structure(optimizer="sgd"),
        structure(strategy="gradient_balance"),
        structure(**{"use/lovasz": True}),
        structure(**{"use/mine:Loss": True, "mine:Loss/x": 0.1}),
        structure(**{"use/mine:Loss": True, "mine:Loss/x": 0.2}),
    ]
    assert len({base, *others}) == 6


def test_the_fingerprint_sees_the_space():
    assert Space().fingerprint == Space().fingerprint
    assert Space().fingerprint != Space(max_terms=2).fingerprint
    assert Space().fingerprint != Space.of(("dice", "focal")).fingerprint
    narrow = Space(learning_rate=Range(1e-3, 1e-2, log=True))
    assert Space().fingerprint != narrow.fingerprint


def test_the_label_names_the_terms_by_weight():
    recipe = Recipe({"dice": 0.3, "focal": 0.7, "iou": 0.0}, {}, "mad", 10, 0.0, 0.1, 1e-3)
    assert recipe.label == "0.70 focal + 0.30 dice (mad)"


def test_a_single_term_has_no_strategy_of_its_own_step():
    space = Space(strategies=STRATEGIES)
    params = {**space.baselines()["dice"], "strategy": "gradient_balance"}
    assert space.structure(space.decode(params)) == ("optimizer adam",)


def test_usual_values_lie_in_their_ranges():
    for term in TERMS.values():
        assert set(term.usual) == set(term.ranges)
        for option, limits in term.ranges.items():
            assert limits.low <= term.usual[option] <= limits.high


def test_a_plain_loss_keeps_its_own_default_where_there_is_no_usual_value():
    space = Space.of(("dice", "cross_entropy"), {"dice": {"smooth": Range(0.5, 10.0)}})
    assert space.baselines()["dice"]["dice/smooth"] == 1.0
    own = Space.of(("dice", "nets:Own"), {"nets:Own": {"level": Range(1.0, 3.0)}})
    assert own.baselines()["dice"]["nets:Own/level"] == 2.0
