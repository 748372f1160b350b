"""How much of the difference between good and bad trials each parameter accounts for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasloss_search.comparison import holm

__all__ = ["importance"]

_LEVEL = 0.05
_FEWEST = 20
# A parameter that fewer trials use than these is not judged.
_FEWEST_USES = 10
# Ranges of a number that are told apart, with as many trials each.
_PARTS = 4


def importance(
    params: Sequence[Mapping[str, Any]], values: Sequence[float], used: Sequence[Collection[str]]
) -> dict[str, float]:
    """How much of the difference between trials each parameter explains by itself.

    That is the share of the variance of the scores' ranks that lies between the choices of a
    parameter, or between the quarters of a number, less what chance explains (the epsilon squared
    of the Kruskal-Wallis test). What a trial has drawn and not used, such as the parameters of a
    loss that it leaves out, cannot explain its score: each parameter is judged by the trials that
    use it. Parameters are left out that explain no more than if the scores had been dealt out at
    random, and all are where there are too few trials to tell.

    Args:
        params: parameters of every trial that is complete.
        values: what is to be explained, one a trial.
        used: names of the parameters that each trial makes use of.
    """
    if len(params) < _FEWEST:
        return {}
    shares: dict[str, float] = {}
    p: list[float] = []
    for name in params[0]:
        uses = np.array([name in names for names in used])
        seen = [trial[name] for trial, use in zip(params, uses, strict=True) if use]
        if len(seen) >= _FEWEST_USES and len(set(seen)) > 1:
            share, chance = _explained(np.asarray(values, float)[uses], _parts(seen))
            shares[name] = share
            p.append(chance)
    return {
        name: share
        for (name, share), chance in zip(shares.items(), holm(p), strict=True)
        if chance < _LEVEL
    }


def _parts(seen: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Number of the part that every value of a parameter falls into."""
    if isinstance(seen[0], float):
        ends = np.quantile(seen, np.arange(1, _PARTS) / _PARTS)
        return np.searchsorted(ends, seen).astype(np.int64)
    choices = sorted(set(seen))
    return np.array([choices.index(value) for value in seen])


def _explained(
    scores: npt.NDArray[np.float64], parts: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Share of the ranks' variance between parts, and how often chance gives as much."""
    _, same, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2)[same]
    ranks -= ranks.mean()
    members = (np.unique(parts)[:, None] == parts).astype(float)
    draws = min(10_000, max(1_000, 2_000_000 // len(scores)))
    dealt = np.random.default_rng(0).permuted(np.tile(ranks, (draws, 1)), axis=1)

    def between(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = ((rows @ members.T) ** 2 / members.sum(axis=1)).sum(axis=1)
        return found

    seen = between(ranks[None])[0]
    p = float((1 + (between(dealt) >= seen * (1 - 1e-9)).sum()) / (draws + 1))
    total = float((ranks**2).sum())
    free = len(scores) - len(members)
    if total == 0 or free == 0:
        return 0.0, 1.0
    return max(0.0, 1 - (1 - float(seen) / total) * (len(scores) - 1) / free), p
