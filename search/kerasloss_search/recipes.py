"""From a recipe, which is plain data, to losses."""

from __future__ import annotations

from collections.abc import Mapping

import kerasloss
from kerasloss_search.space import AUXILIARY, TERMS, Recipe, Space

__all__ = ["apply", "every_term", "standalone"]


def every_term(space: Space, structure: str, common: dict[str, object]) -> kerasloss.Compound:
    """A compound with every term of the space, to be compiled once and set by `apply`.

    Terms that a trial does not use ride along with weight 0: that costs little next to a network,
    and saves compiling a step for every combination.

    Args:
        space: the search space.
        structure: method of the memory fusion.
        common: options that all terms share, such as `from_logits`.
    """
    return kerasloss.Compound(
        {term: _loss(term, dict(TERMS[term].usual), common) for term in space.terms},
        weighting=kerasloss.weighting.DynamicMemoryFusion(method=structure),  # type: ignore[arg-type]
        auxiliary=_loss(AUXILIARY, {}, common),
        auxiliary_scale=0.0,
    )


def apply(compound: kerasloss.Compound, recipe: Recipe) -> None:
    """Sets a compound made by `every_term` to a recipe and forgets what it remembers."""
    compound.assign(
        weights=dict(recipe.weights),
        weighting={"warmup": recipe.warmup},
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
