"""A trial before and after it has run, as the rest of the search sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kerasloss_search.space import Recipe

__all__ = ["Proposal", "Record"]


@dataclass(frozen=True)
class Proposal:
    """A trial to run."""

    number: int
    params: Mapping[str, Any]
    recipe: Recipe
    baseline: str | None
    retry_of: int | None


@dataclass(frozen=True)
class Record:
    """A trial that has ended.

    Attributes:
        number: of the trial.
        recipe: its loss.
        baseline: name of the plain loss that it is, or None.
        outcome: `"complete"`, `"pruned"`, `"collapsed"` (predicts no foreground), `"diverged"`
            (NaN) or `"failed"`.
        score: first score at the best epoch; NaN where there is none.
        seconds: how long it took.
        values: all scores at the best epoch.
        curve: first score of every epoch.
        note: the reason where it failed.
        params: what the sampler chose.
    """

    number: int
    recipe: Recipe
    baseline: str | None
    outcome: str
    score: float
    seconds: float
    values: Mapping[str, float] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)
    note: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
