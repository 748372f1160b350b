"""Whether one loss beat another on the test images, with all that may deceive taken in."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Comparison", "compare", "holm", "interval", "p_is", "smallest_p"]

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
        p: how often a difference as large arises where there is none, two-sided: by other images,
            by other trainings or by both, whichever is the likelier explanation.
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

    Three tests have to agree. One changes the sign of the difference for whole groups of images:
    two tiles of one micrograph are no two observations. One deals out the trainings anew to the
    two losses: what differs no more than one seed from the next is no difference between losses.
    The third is the interval's: it draws groups and seeds anew, so that it shows what other images
    and another training might have given together.

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
    change = draws[0] - draws[1]
    low, high = np.quantile(change, [0.025, 0.975])
    p = max(
        _sign_test(sums, rng),
        _dealing_test(first.mean(axis=1), second.mean(axis=1), rng),
        2.0 * (1 + min((change <= 0).sum(), (change >= 0).sum())) / (_DRAWS + 1),
    )
    difference = float(first.mean() - second.mean())
    return Comparison(difference, float(low), float(high), min(1.0, float(p)), count)


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


def smallest_p(*, units: int | None = None, seeds: int | None = None) -> float:
    """What the tests can give at least for so many groups, or so many trainings of each loss."""
    found = 2.0 / (_DRAWS + 1)
    if units is not None and units <= _EXACT:
        found = max(found, 2.0 ** (1 - units))
    if seeds is not None:
        found = max(found, 2.0 / math.comb(2 * seeds, seeds))
    return found


def p_is(p: float) -> str:
    """A p-value in a sentence, never as 0."""
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


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
    """How often each group is drawn, with replacement; (draws, groups)."""
    return _drawn(count, rng)


def _drawn(count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    # One less than there are: with all of them the mean of a few varies too little, by (n - 1) / n.
    return rng.multinomial(max(1, count - 1), np.full(count, 1 / count), size=_DRAWS)


def _means(
    values: Values,
    member: npt.NDArray[np.int64],
    often: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> Values:
    """Mean score of every draw of groups, with the seeds drawn anew, too."""
    count = often.shape[1]
    drawn = _drawn(len(values), rng)
    sums = often @ _by_unit(values, member, count).T
    images = often @ np.bincount(member, minlength=count)
    means: Values = (sums * drawn).sum(axis=1) / (drawn.sum(axis=1) * images)
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


def _dealing_test(ours: Values, theirs: Values, rng: np.random.Generator) -> float:
    """How often trainings dealt out anew differ as much in their mean; one number a training."""
    pool, count = np.concatenate([ours, theirs]), len(ours)
    observed = abs(ours.mean() - theirs.mean())
    limit = observed * (1 - 1e-9) - 1e-12
    exact = math.comb(len(pool), count) <= 2 * _DRAWS
    if exact:
        chosen = np.array(list(itertools.combinations(range(len(pool)), count)))
    else:
        chosen = rng.permuted(np.tile(np.arange(len(pool)), (_DRAWS, 1)), axis=1)[:, :count]
    sums = pool[chosen].sum(axis=1)
    difference = np.abs(sums / count - (pool.sum() - sums) / (len(pool) - count))
    extreme = difference >= limit
    return float(extreme.mean()) if exact else float((1 + extreme.sum()) / (_DRAWS + 1))
