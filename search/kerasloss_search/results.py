"""Everything that a search found, as one JSON file that the report and other programs read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kerasloss_search import files
from kerasloss_search.comparison import interval
from kerasloss_search.judgement import Judgement
from kerasloss_search.records import Record
from kerasloss_search.scores import Score

__all__ = ["FORMAT", "content"]

FORMAT = 2


def content(
    folder: Path,
    records: Sequence[Record],
    scores: Sequence[Score],
    *,
    judgement: Judgement | None,
    groups: Sequence[str],
    words: Mapping[str, Sequence[str]],
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of `results.json`.

    Args:
        folder: the search's folder, where the logs of the trials are.
        records: all trials that have ended.
        scores: of the search.
        judgement: the final stage, or None before it.
        groups: group of every test image.
        words: `"verdict"` and `"findings"`, sentences.
        extra: what else is to be kept, such as provenance and importance.
    """
    best = None if judgement is None else judgement.best
    return {
        "format": FORMAT,
        "scores": [
            {
                "name": score.name,
                "title": score.title,
                "higher_is_better": score.higher_is_better,
                "unit": score.unit,
            }
            for score in scores
        ],
        "best": best and {"trial": best.number, "label": _label(best), "baseline": best.baseline},
        **{name: list(lines) for name, lines in words.items()},
        **extra,
        "finals": [] if judgement is None else _finals(judgement, groups, scores),
        "comparisons": [] if judgement is None else _comparisons(judgement),
        "trials": [_trial(folder, record) for record in records],
    }


def _label(record: Record) -> str:
    return record.baseline or record.recipe.label


def _finals(
    judgement: Judgement, groups: Sequence[str], scores: Sequence[Score]
) -> list[dict[str, Any]]:
    rows = []
    for record in judgement.records:
        trainings = judgement.finals[record.number]
        test = {}
        for score in scores:
            if score.per_image is None:
                continue
            values = judgement.test(record, score.name)
            mean, low, high = interval(values, groups)
            test[score.name] = {
                "mean": mean,
                "low": low,
                "high": high,
                "per_seed": values.mean(axis=1).tolist(),
                "per_image": values.mean(axis=0).tolist(),
            }
        rows.append(
            {
                "trial": record.number,
                "label": _label(record),
                "baseline": record.baseline,
                "seeds": [final.seed for final in trainings],
                "validation": [final.validation for final in trainings],
                "test": test,
            }
        )
    return rows


def _comparisons(judgement: Judgement) -> list[dict[str, Any]]:
    assert judgement.plain is not None or not judgement.pairs
    return [
        {
            "trial": pair.record.number,
            "against": judgement.plain and judgement.plain.number,
            "score": pair.score.name,
            "difference": pair.comparison.difference,
            "low": pair.comparison.low,
            "high": pair.comparison.high,
            "p": pair.p,
            "p_raw": pair.comparison.p,
            "units": pair.comparison.units,
        }
        for pair in judgement.pairs
    ]


def _trial(folder: Path, record: Record) -> dict[str, Any]:
    return {
        "trial": record.number,
        "label": _label(record),
        "baseline": record.baseline,
        "family": record.recipe.family,
        "outcome": record.outcome,
        "validation": _finite(record.score),
        "values": dict(record.values),
        "seconds": _finite(record.seconds),
        "note": record.note,
        "params": dict(record.params),
        "recipe": asdict(record.recipe),
        "curve": record.curve,
        "logs": {
            name: [_finite(value) for value in series]
            for name, series in (
                files.read_json(files.logs_file(folder, record.number)) or {}
            ).items()
        },
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
