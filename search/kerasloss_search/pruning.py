"""Which trials have fallen behind: those below the median of their own kind."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence

__all__ = ["FamilyMedian"]

# Trials of the same family that must have finished before one may be judged by them.
_FEWEST_PEERS = 4


class FamilyMedian:
    """Compares a trial with finished trials of its own loss family, after equally many epochs.

    Losses of different families converge at different speed, and a common threshold would throw
    away those that start slowly and end high.
    """

    def __init__(self) -> None:
        # Best scores until an epoch in ascending order: a study may have ten thousand trials, and
        # the question comes after every epoch.
        self._peers: dict[tuple[str, int], list[float]] = {}

    def add(self, family: str, curve: Sequence[float]) -> None:
        """Takes the scores of a finished trial, more being better, one an epoch."""
        for epoch, best in enumerate(itertools.accumulate(curve, max)):
            bisect.insort(self._peers.setdefault((family, epoch), []), best)

    def behind(self, family: str, curve: Sequence[float]) -> bool:
        """Whether a trial with these scores so far is below the median; False for few peers."""
        peers = self._peers.get((family, len(curve) - 1), [])
        return len(peers) >= _FEWEST_PEERS and max(curve) < _median(peers)


def _median(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
