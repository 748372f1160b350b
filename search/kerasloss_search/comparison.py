"""Whether one loss beat another on the test images, with all that may deceive taken in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Comparison", "compare", "holm", "interval", "smallest_p"]

Values = npt.NDArray[np.float64]

_DRAWS = 10_000
# Up to so many groups all changes of sign are tried, beyond only some.
_EXACT = 13


@dataclass(frozen=True)
class Comparison:
    """Two losses on the same test images.

    Attributes:
        difference: of the mean scores, ours minus theirs.
        low: lower end of its 95 % interval.
        high: upper end.
        p: how often a difference as large arises where there is none; two-sided.
        units: number of groups of images that are independent of each other.
    """

    difference: float
    low: float
    high: float
    p: float
    units: int


def compare(
    ours: npt.ArrayLike, theirs: npt.ArrayLike, groups: Sequence[str], *, seed: int = 0
) -> Comparison:
    """Compares the scores of two losses, each trained from several seeds, on the same images.

    The test changes the sign of the difference for whole groups of images: two tiles of one
    micrograph are no two observations. The interval draws groups and seeds anew, so that it
    shows what other images and another training might have given.

    Args:
        ours: scores, shape (seeds, images).
        theirs: scores, shape (seeds, images); the number of seeds may differ.
        groups: group of every image.
        seed: of the random draws.
    """
    first, second = np.atleast_2d(np.asarray(ours, float)), np.atleast_2d(np.asarray(theirs, float))
    member, count = _members(groups)
    rng = np.random.default_rng(seed)
    sums = _by_unit(first.mean(axis=0) - second.mean(axis=0), member, count)
    # The same groups on both sides, but seeds of their own.
    often = _drawn_groups(count, rng)
    draws = [_means(values, member, often, rng) for values in (first, second)]
    low, high = np.quantile(draws[0] - draws[1], [0.025, 0.975])
    difference = float(first.mean() - second.mean())
    return Comparison(difference, float(low), float(high), _sign_test(sums, rng), count)


def interval(
    scores: npt.ArrayLike, groups: Sequence[str], *, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of the scores of one loss, shape (seeds, images), and the ends of its 95 % interval."""
    values = np.atleast_2d(np.asarray(scores, float))
    member, count = _members(groups)
    rng = np.random.default_rng(seed)
    draws = _means(values, member, _drawn_groups(count, rng), rng)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected for their number by Holm's method, in the same order."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return [float(value) for value in corrected]


def smallest_p(units: int) -> float:
    """What the test can give at least for so many groups."""
    return 2.0 ** (1 - units) if units <= _EXACT else 1.0 / (_DRAWS + 1)


def _members(groups: Sequence[str]) -> tuple[npt.NDArray[np.int64], int]:
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    return member.astype(np.int64), len(names)


def _by_unit(values: Values, member: npt.NDArray[np.int64], count: int) -> Values:
    """Sum over the images of every group; images on the last axis."""
    one_hot = np.zeros((len(member), count))
    one_hot[np.arange(len(member)), member] = 1.0
    summed: Values = values @ one_hot
    return summed


def _drawn_groups(count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """How often each group is drawn, as many as there are with replacement; (draws, groups)."""
    return rng.multinomial(count, np.full(count, 1 / count), size=_DRAWS)


def _means(
    values: Values,
    member: npt.NDArray[np.int64],
    often: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> Values:
    """Mean score of every draw of groups, with the seeds drawn anew, too."""
    count, seeds = often.shape[1], len(values)
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=_DRAWS)
    sums = often @ _by_unit(values, member, count).T
    images = often @ np.bincount(member, minlength=count)
    means: Values = (sums * drawn).sum(axis=1) / (seeds * images)
    return means


def _sign_test(sums: Values, rng: np.random.Generator) -> float:
    observed = abs(sums.sum())
    # A flip that gives the same sum but for rounding is as extreme.
    limit = observed * (1 - 1e-9) - 1e-12
    if len(sums) <= _EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(sums))))
        return float((np.abs(signs @ sums) >= limit).mean())
    signs = rng.choice((1.0, -1.0), size=(_DRAWS, len(sums)))
    return float((1 + (np.abs(signs @ sums) >= limit).sum()) / (_DRAWS + 1))
