"""Arithmetic of losses: `0.5 * Dice() + Focal()` is a `Compound`."""

from __future__ import annotations

import numbers
from typing import Any

from kerasloss import _check
from kerasloss.compound import Compound
from kerasloss.losses.base import SegmentationLoss

_MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


def add(one: Any, other: Any) -> SegmentationLoss:
    """Returns `one + other`; the number 0, with which `sum` starts, adds nothing."""
    for part, rest in ((one, other), (other, one)):
        if isinstance(part, numbers.Real) and not part:
            return rest  # type: ignore[no-any-return]
    for part in (one, other):
        if not isinstance(part, SegmentationLoss):
            raise _type_error(
                "a kerasloss loss on both sides of `+`",
                part,
                f"Make an instance: `{part.__name__}()`." if isinstance(part, type) else "",
            )
    terms: dict[str, SegmentationLoss] = {}
    weights: dict[str, float] = {}
    for name, loss, weight in (*_terms(one), *_terms(other)):
        number, free = 1, name
        while free in terms:
            number += 1
            free = f"{name}_{number}"
        terms[free], weights[free] = loss, weight
    return Compound(terms, weights=weights, **_shared_options(one, other))


def multiply(loss: SegmentationLoss, factor: Any) -> Compound:
    """Returns `factor * loss`."""
    if isinstance(factor, SegmentationLoss) or not isinstance(factor, numbers.Real):
        raise _type_error(
            "a number on one side of `*`",
            factor,
            "Losses can be added, and multiplied by numbers. Weights that change belong to "
            "Compound.assign or to a weighting strategy.",
        )
    _check.number("loss arithmetic", "factor", factor, above=0.0)
    scaled = [(name, part, float(factor) * weight) for name, part, weight in _terms(loss)]
    return Compound(
        {name: part for name, part, _ in scaled},
        weights={name: weight for name, _, weight in scaled},
        **_shared_options(loss),
    )


def _terms(loss: SegmentationLoss) -> list[tuple[str, SegmentationLoss, float]]:
    """Name, loss and weight of every summand."""
    if not isinstance(loss, Compound):
        return [(str(loss.name), loss, 1.0)]
    if loss.weighting is not None or loss.auxiliary is not None:
        raise _check.error(
            "loss arithmetic",
            "sums whose weights stay",
            "a Compound with `weighting` or `auxiliary`",
            "Put all terms into one Compound and give it the strategy.",
        )
    return loss.summands()


def _shared_options(*losses: SegmentationLoss) -> dict[str, Any]:
    """Reduction and dtype, which one sum can have only one of."""
    options: dict[str, Any] = {}
    for option, values in (
        ("reduction", [_reduction(loss) for loss in losses]),
        ("dtype", [loss._given_dtype for loss in losses]),
    ):
        if any(value != values[0] for value in values):
            raise _check.error(
                "loss arithmetic",
                f"losses of the same `{option}`",
                " and ".join(map(repr, values)),
                f"Make a Compound, which has a `{option}` of its own.",
            )
        options[option] = values[0]
    return options


def _reduction(loss: SegmentationLoss) -> str:
    reduction = loss.reduction or "none"
    return _MEANS[0] if reduction in _MEANS else str(reduction)


def _type_error(expected: str, received: Any, fix: str) -> TypeError:
    return TypeError(str(_check.error("loss arithmetic", expected, repr(received), fix)))
