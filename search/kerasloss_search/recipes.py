"""From a recipe, which is plain data, to losses."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

import kerasloss
from kerasloss_search.catalogue import TERMS, Term
from kerasloss_search.space import FUSED, Recipe, Space, is_dotted

__all__ = ["apply", "compound_for", "standalone", "strategy_named", "takes_maps"]

_METHODS = ("var", "mad", "bayes")


class _AnyMethod(kerasloss.weighting.Weighting):
    """All methods of the memory fusion in one; a number says whose weights count.

    Past the sums over the pixels a strategy works on a few numbers, so all of them together cost
    less than compiling a training step for each.
    """

    tunable = ("warmup", "method")
    warmup: Any
    method: Any

    def __init__(self, warmup: Any = 2.0, method: Any = 0.0) -> None:
        super().__init__(warmup=warmup, method=method)

    def memory_for(self, terms: Sequence[str]) -> dict[str, Any]:
        return kerasloss.weighting.DynamicMemoryFusion().memory_for(terms)

    def update(self, seen: kerasloss.weighting.Seen, memory: dict[str, Any]) -> Any:
        moved, kept = seen.weights, memory
        for index, method in enumerate(_METHODS):
            fusion = kerasloss.weighting.DynamicMemoryFusion(method=method, warmup=self.warmup)  # type: ignore[arg-type]
            weights, kept = fusion.update(seen, memory)
            chosen = ops.equal(ops.cast(self.method, "float32"), float(index))
            moved = ops.where(chosen, weights, moved)
        return moved, kept

    def get_config(self) -> dict[str, Any]:
        return {}


_CLASSES: dict[str, type[kerasloss.weighting.Weighting]] = {
    "soft_adapt": kerasloss.weighting.SoftAdapt,
    "dynamic_weight_average": kerasloss.weighting.DynamicWeightAverage,
    "coefficient_of_variation": kerasloss.weighting.CoefficientOfVariation,
    "relobralo": kerasloss.weighting.ReLoBRaLo,
    "random": kerasloss.weighting.RandomWeighting,
    "gradient_balance": kerasloss.weighting.GradientBalance,
}


def compound_for(
    space: Space, recipe: Recipe, common: Mapping[str, object], *, maps: bool = False
) -> kerasloss.Compound:
    """A compound for all recipes of one structure, to be compiled once and set by `apply`.

    Terms that cost little and that a trial does not use ride along with weight 0: next to a network
    they take little time, and save compiling a step for every combination. A user's own strategy
    may count all terms that it sees, so it sees those of its trial alone, as it will in use.

    Args:
        space: the search space.
        recipe: a recipe of that structure.
        common: options that all terms share, such as `from_logits`.
        maps: whether the targets carry distance maps for the terms that can take them.
    """
    rides = not is_dotted(recipe.strategy)
    terms = {
        name: _loss(name, _fixed(term, maps), recipe.options.get(name, term.usual), common)
        for name, term in space.terms.items()
        if name in recipe.terms or (rides and not (term.costly or is_dotted(name)))
    }
    auxiliary = space.auxiliary
    return kerasloss.Compound(
        terms,
        weighting=_AnyMethod() if recipe.strategy in FUSED else strategy_named(recipe.strategy),
        auxiliary=_auxiliary(auxiliary, common, maps=maps),
        auxiliary_scale=0.0,
    )


def takes_maps(compound: kerasloss.Compound) -> bool:
    """Whether a term of a compound wants targets that carry distance maps."""
    losses = [*compound.terms.values(), compound.auxiliary]
    return any(getattr(loss, "precomputed", False) for loss in losses)


def apply(compound: kerasloss.Compound, recipe: Recipe) -> None:
    """Sets a compound made by `compound_for` to a recipe and forgets what it remembers."""
    settings: dict[str, Any] = {}
    if recipe.strategy in FUSED:
        # Weights that stay are those of a method that never gets past its warm-up.
        method = 0 if recipe.strategy == "static" else _METHODS.index(recipe.strategy)
        settings["weighting"] = {"warmup": recipe.warmup, "method": method}
    if compound.auxiliary is not None:
        settings["auxiliary_scale"] = recipe.auxiliary_scale
        settings["auxiliary_decay"] = recipe.auxiliary_decay
    for name, options in recipe.options.items():
        # A user's own loss got its numbers when its step was built.
        if options and not is_dotted(name):
            settings[name] = dict(options)
    compound.assign(weights={name: recipe.weights[name] for name in compound.terms}, **settings)
    compound.restart()


def standalone(
    space: Space, recipe: Recipe, common: Mapping[str, object]
) -> kerasloss.losses.SegmentationLoss:
    """The loss of a recipe with the terms in use alone: what a user loads."""
    terms = {
        name: _loss(name, space.terms[name].fixed, recipe.options[name], common)
        for name in recipe.terms
    }
    if len(terms) == 1 and recipe.auxiliary_scale == 0:
        return next(iter(terms.values()))
    auxiliary = recipe.auxiliary if recipe.auxiliary_scale > 0 else None
    return kerasloss.Compound(
        terms,
        weights={name: recipe.weights[name] for name in terms},
        weighting=_strategy(recipe),
        auxiliary=_auxiliary(auxiliary, common),
        auxiliary_scale=recipe.auxiliary_scale,
        auxiliary_decay=recipe.auxiliary_decay,
    )


def strategy_named(name: str) -> kerasloss.weighting.Weighting:
    """A strategy with its usual options: one of the library, or `package.module:Name`.

    Raises:
        ValueError: if the name is that of something else, or of a strategy that learns.
    """
    if name in _CLASSES:
        return _CLASSES[name]()
    made = _made(name, {}, "strategies")
    if not isinstance(made, kerasloss.weighting.Weighting):
        raise ValueError(
            f"strategies: expected {name} to make a kerasloss.weighting.Weighting. "
            f"Received: {type(made).__name__}."
        )
    if made.learns:
        raise ValueError(
            f"strategies: {name} learns together with the model, by a layer that the models of a "
            "search do not have. Take it out."
        )
    return made


def _auxiliary(
    name: str | None, common: Mapping[str, object], *, maps: bool = False
) -> kerasloss.losses.SegmentationLoss | None:
    return None if name is None else _loss(name, _fixed(TERMS[name], maps), {}, common)


def _fixed(term: Term, maps: bool) -> Mapping[str, Any]:
    return {**term.fixed, "precomputed": True} if maps and term.maps else term.fixed


def _strategy(recipe: Recipe) -> kerasloss.weighting.Weighting | None:
    if recipe.strategy == "static":
        return None
    if recipe.strategy not in FUSED:
        return strategy_named(recipe.strategy)
    return kerasloss.weighting.DynamicMemoryFusion(
        method=recipe.strategy,  # type: ignore[arg-type]
        warmup=recipe.warmup,
    )


def _loss(
    name: str,
    fixed: Mapping[str, Any],
    options: Mapping[str, float],
    common: Mapping[str, object],
) -> kerasloss.losses.SegmentationLoss:
    if not is_dotted(name):
        return type(kerasloss.get(name))(**{**fixed, **options, **common})
    made = _made(name, {**fixed, **options, **common}, "terms")
    if not isinstance(made, kerasloss.losses.SegmentationLoss):
        raise ValueError(
            f"terms: expected {name} to make a kerasloss.losses.SegmentationLoss. "
            f"Received: {type(made).__name__}."
        )
    return made


def _made(name: str, options: Mapping[str, Any], section: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)(**options)
    except (ImportError, AttributeError, TypeError, ValueError) as problem:
        raise ValueError(f"{section}: cannot make {name}: {problem}.") from problem
