"""A search as its folder tells it: `results.json`, read back with all that may be missing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

__all__ = [
    "Comparison",
    "Final",
    "Finished",
    "Measured",
    "Score",
    "Trial",
    "name_of",
    "read_finished",
    "readable",
]

_FORMAT = 2


@dataclass(frozen=True, slots=True)
class Score:
    """A score that trials were judged by; `unit` is empty for a share between 0 and 1."""

    name: str
    title: str
    higher_is_better: bool
    unit: str

    @property
    def heading(self) -> str:
        """Title and unit, for an axis or a column."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def written(self, value: float, *, signed: bool = False) -> str:
        """The value with as many digits as its size deserves, or a dash if there is none."""
        if not math.isfinite(value):
            return "–"
        digits = 2 if self.unit else 4
        return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")

    def order(self, value: float) -> tuple[bool, float]:
        """Key that sorts the best value first and missing ones last."""
        if not math.isfinite(value):
            return (True, 0.0)
        return (False, -value if self.higher_is_better else value)


@dataclass(frozen=True, slots=True)
class Measured:
    """A score on the test images: mean over images and seeds, and its 95 % interval."""

    mean: float
    low: float
    high: float
    per_seed: tuple[float, ...]
    per_image: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Final:
    """A loss that was trained anew in the end, once a seed."""

    trial: int
    label: str
    baseline: str | None
    seeds: tuple[int, ...]
    validation: tuple[float, ...]
    test: Mapping[str, Measured]

    @property
    def validation_mean(self) -> float:
        """Mean over the seeds, not a number if there are none."""
        return sum(self.validation) / len(self.validation) if self.validation else math.nan


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference between two losses on the test images, paired; `p` is the corrected one."""

    trial: int
    against: int
    score: str
    difference: float
    low: float
    high: float
    p: float
    p_raw: float
    units: int | None

    def turned(self) -> Comparison:
        """The same comparison, seen from the other loss."""
        return Comparison(
            self.against,
            self.trial,
            self.score,
            -self.difference,
            -self.high,
            -self.low,
            self.p,
            self.p_raw,
            self.units,
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of the search; `baseline` names a plain loss and is None for a searched one."""

    trial: int
    label: str
    baseline: str | None
    family: str
    outcome: str
    validation: float
    values: Mapping[str, float]
    seconds: float
    note: str
    curve: tuple[float, ...]
    logs: Mapping[str, tuple[float, ...]]


class _Named(Protocol):
    @property
    def trial(self) -> int: ...
    @property
    def label(self) -> str: ...
    @property
    def baseline(self) -> str | None: ...


_Entry = TypeVar("_Entry", bound=_Named)


@dataclass(frozen=True, slots=True)
class Finished:
    """All that a report is made of; parts that are not there yet are empty or None.

    Attributes:
        folder: where the search has written to.
        scores: what trials were judged by, the main one first.
        best: number of the trial that won.
        verdict: what may be said, sentence by sentence.
        findings: what else was noticed.
        provenance: where the numbers come from.
        finals: losses trained anew, in the order of their mean validation score.
        comparisons: differences on the test images.
        importance: share of every parameter in the differences between trials.
        pareto: numbers of the trials that no other beats in every score.
        trials: every trial, by number.
    """

    folder: Path
    scores: tuple[Score, ...]
    best: int | None
    verdict: tuple[str, ...]
    findings: tuple[str, ...]
    provenance: Mapping[str, str]
    finals: tuple[Final, ...]
    comparisons: tuple[Comparison, ...]
    importance: Mapping[str, float]
    pareto: tuple[int, ...] | None
    trials: tuple[Trial, ...]

    @property
    def main(self) -> Score:
        """The score that decides."""
        return self.scores[0]

    @property
    def winner(self) -> Final | None:
        """Final trainings of the best loss, or else of the first in the ranking."""
        chosen = [final for final in self.finals if final.trial == self.best]
        return next(iter(chosen + list(self.finals)), None)

    def best_final(self, *, plain: bool) -> Final | None:
        """The first plain (or searched) loss in the ranking, but the winner if it is one."""
        winner = self.winner
        entries = ([winner] if winner else []) + list(self.finals)
        return next((one for one in entries if (one.baseline is not None) == plain), None)

    def ranked_trials(self) -> list[Trial]:
        """Trials that ended well, the best on validation images first."""
        ended = [one for one in self.trials if one.outcome == "complete"]
        return sorted(ended, key=lambda one: self.main.order(one.validation))


def name_of(entry: _Named) -> str:
    """What a loss is called: its trial's number, and the plain loss's name or the whole sum."""
    return f"#{entry.trial} {entry.baseline or entry.label}"


def read_finished(folder: Path) -> Finished:
    """Read the `results.json` of a search.

    Args:
        folder: The search's folder.

    Raises:
        ValueError: There is no `results.json`, it is damaged, or another version wrote it.
    """
    path = folder / "results.json"
    if not path.is_file():
        raise ValueError(
            f"There is no results.json in `{folder}`. Run a search with this folder first, or "
            "name the folder of one."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.get("format", 1)
    except (ValueError, AttributeError) as problem:
        raise ValueError(f"`{path}` cannot be read: {problem}") from None
    if found != _FORMAT:
        raise ValueError(
            f"`{path}` has format {found} and this version reads format {_FORMAT}: another version "
            "has written it. Use that one, or search anew."
        )
    try:
        return _finished(folder, content)
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        raise ValueError(f"`{path}` is damaged: {type(problem).__name__} {problem}") from None


def _finished(folder: Path, content: Mapping[str, Any]) -> Finished:
    scores = tuple(
        Score(
            readable(one["name"]),
            readable(one.get("title") or one["name"]),
            bool(one.get("higher_is_better", True)),
            readable(one.get("unit") or ""),
        )
        for one in content["scores"]
    )
    if not scores:
        raise ValueError("it names no score")
    finals = [_final(one) for one in content.get("finals") or ()]
    pareto = content.get("pareto")
    trials = [_trial(one) for one in content.get("trials") or ()]
    best = (content.get("best") or {}).get("trial")
    return Finished(
        folder=folder,
        scores=scores,
        best=None if best is None else int(best),
        verdict=_sentences(content.get("verdict")),
        findings=_sentences(content.get("findings")),
        provenance={
            readable(key): readable(value if isinstance(value, str) else json.dumps(value))
            for key, value in (content.get("provenance") or {}).items()
        },
        finals=tuple(sorted(finals, key=lambda one: scores[0].order(one.validation_mean))),
        comparisons=tuple(_comparison(one) for one in content.get("comparisons") or ()),
        importance={
            readable(key): _number(value)
            for key, value in (content.get("importance") or {}).items()
        },
        pareto=None if pareto is None else tuple(int(one) for one in pareto),
        trials=tuple(sorted(trials, key=lambda one: one.trial)),
    )


def _final(one: Mapping[str, Any]) -> Final:
    return Final(
        trial=int(one["trial"]),
        label=readable(one["label"]),
        baseline=_optional(one.get("baseline")),
        seeds=tuple(int(seed) for seed in one.get("seeds") or ()),
        validation=_numbers(one.get("validation")),
        test={
            readable(name): Measured(
                _number(entry.get("mean")),
                _number(entry.get("low")),
                _number(entry.get("high")),
                _numbers(entry.get("per_seed")),
                _numbers(entry.get("per_image")),
            )
            for name, entry in (one.get("test") or {}).items()
        },
    )


def _comparison(one: Mapping[str, Any]) -> Comparison:
    units = one.get("units")
    return Comparison(
        int(one["trial"]),
        int(one["against"]),
        readable(one["score"]),
        _number(one.get("difference")),
        _number(one.get("low")),
        _number(one.get("high")),
        _number(one.get("p")),
        _number(one.get("p_raw")),
        None if units is None else int(units),
    )


def _trial(one: Mapping[str, Any]) -> Trial:
    return Trial(
        trial=int(one["trial"]),
        label=readable(one["label"]),
        baseline=_optional(one.get("baseline")),
        family=readable(one.get("family") or ""),
        outcome=readable(one["outcome"]),
        validation=_number(one.get("validation")),
        values={readable(key): _number(value) for key, value in (one.get("values") or {}).items()},
        seconds=_number(one.get("seconds")),
        note=readable(one.get("note") or ""),
        curve=_numbers(one.get("curve")),
        logs={readable(key): _numbers(value) for key, value in (one.get("logs") or {}).items()},
    )


def readable(value: object) -> str:
    """The text with what no page can hold replaced: file names may hold any bytes."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _optional(value: object) -> str | None:
    return None if value is None else readable(value)


def _sentences(value: str | Iterable[object] | None) -> tuple[str, ...]:
    if isinstance(value, str):
        return (readable(value),)
    return tuple(readable(one) for one in value or ())


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _numbers(values: Iterable[Any] | None) -> tuple[float, ...]:
    return tuple(_number(one) for one in values or ())
