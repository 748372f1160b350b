"""From a recipe, which is plain data, to losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

import kerasloss
from kerasloss_search.space import AUXILIARY, TERMS, Recipe, Space

__all__ = ["apply", "every_term", "standalone"]


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


def every_term(space: Space, common: dict[str, object]) -> kerasloss.Compound:
    """A compound with every term of the space, to be compiled once and set by `apply`.

    Terms that a trial does not use ride along with weight 0: that costs little next to a network,
    and saves compiling a step for every combination.

    Args:
        space: the search space.
        common: options that all terms share, such as `from_logits`.
    """
    return kerasloss.Compound(
        {term: _loss(term, dict(TERMS[term].usual), common) for term in space.terms},
        weighting=_AnyMethod(),
        auxiliary=_loss(AUXILIARY, {}, common),
        auxiliary_scale=0.0,
    )


def apply(compound: kerasloss.Compound, recipe: Recipe) -> None:
    """Sets a compound made by `every_term` to a recipe and forgets what it remembers."""
    compound.assign(
        weights=dict(recipe.weights),
        weighting={
            "warmup": recipe.warmup,
            # Weights that stay are those of a method that never gets past its warm-up.
            "method": 0 if recipe.strategy == "static" else _METHODS.index(recipe.strategy),
        },
        auxiliary_scale=recipe.auxiliary_scale,
        auxiliary_decay=recipe.auxiliary_decay,
        **{term: dict(options) for term, options in recipe.options.items() if options},
    )
    compound.restart()


def standalone(recipe: Recipe, common: dict[str, object]) -> kerasloss.losses.SegmentationLoss:
    """The loss of a recipe with the terms in use alone: what a user loads."""
    terms = {term: _loss(term, recipe.options[term], common) for term in recipe.terms}
    if len(terms) == 1 and recipe.auxiliary_scale == 0:
        return next(iter(terms.values()))
    weighting = None
    if recipe.strategy != "static":
        weighting = kerasloss.weighting.DynamicMemoryFusion(
            method=recipe.strategy,  # type: ignore[arg-type]
            warmup=recipe.warmup,
        )
    auxiliary = _loss(AUXILIARY, {}, common) if recipe.auxiliary_scale > 0 else None
    return kerasloss.Compound(
        terms,
        weights={term: recipe.weights[term] for term in terms},
        weighting=weighting,
        auxiliary=auxiliary,
        auxiliary_scale=recipe.auxiliary_scale,
        auxiliary_decay=recipe.auxiliary_decay,
    )


def _loss(
    term: str, options: Mapping[str, float], common: dict[str, object]
) -> kerasloss.losses.SegmentationLoss:
    plain = kerasloss.get(term)
    return type(plain)(**{**TERMS[term].fixed, **options, **common})
