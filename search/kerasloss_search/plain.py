"""The plain losses of a search: which trials are one of them, and with which learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from kerasloss_search.records import Record
from kerasloss_search.space import Recipe, Space

__all__ = ["best_of_each", "name_of", "other_rates"]

# Learning rates closer than this, as a logarithm, are no two.
_ANOTHER_RATE = 0.2


def name_of(space: Space, recipe: Recipe) -> str | None:
    """Name of the plain loss that a recipe is, whatever it is trained with; None for none."""
    if recipe.strategy != "static" or recipe.auxiliary_scale > 0:
        return None
    for name, params in space.baselines().items():
        plain = space.decode(params)
        if (plain.weights, plain.options) == (recipe.weights, recipe.options):
            return name
    return None


def best_of_each(
    space: Space, records: Iterable[Record], merit: Callable[[Record], float]
) -> list[Record]:
    """The plain losses among trials that are complete, each with the rate that did best for it.

    One that the sampler has drawn is called what it is.
    """
    best: dict[str, Record] = {}
    for record in records:
        name = name_of(space, record.recipe)
        if name is None:
            continue
        if record.baseline is None:
            record = replace(record, baseline=f"{name}, rate {record.recipe.learning_rate:.1e}")
        if name not in best or merit(record) > merit(best[name]):
            best[name] = record
    return list(best.values())


def other_rates(
    space: Space,
    records: Iterable[Record],
    tried: Collection[str],
    merit: Callable[[Record], float],
) -> Mapping[str, Mapping[str, Any]]:
    """Label -> parameters of the best plain loss with other learning rates, once all have ended.

    A searched loss draws its learning rate; the best plain one must not lose for want of that.

    Args:
        space: the search space.
        records: all trials that have ended.
        tried: labels of the plain losses that have been queued or have run.
        merit: of a record, more being better.
    """
    plain = space.baselines()
    ended = [record for record in records if record.baseline in plain]
    complete = [record for record in ended if record.outcome == "complete"]
    if {record.baseline for record in ended} != set(plain) or not complete:
        return {}
    name = str(max(complete, key=merit).baseline)
    low, high = space.learning_rate.low, space.learning_rate.high
    rates = [low * (high / low) ** share for share in (0.25, 0.75)]
    wanted = {
        f"{name}, rate {rate:.1e}": {**plain[name], "learning_rate": rate}
        for rate in rates
        if abs(math.log(rate / space.usual_learning_rate)) > _ANOTHER_RATE
    }
    if not set(tried) - set(plain) <= set(wanted):
        # Another loss has become the best one since, where a plain one had failed before.
        return {}
    return {label: params for label, params in wanted.items() if label not in tried}
