"""What a search teaches beyond its best loss: sentences that its trials support."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from kerasloss_search.comparison import holm
from kerasloss_search.records import Record
from kerasloss_search.scores import Score

__all__ = ["findings"]

_LEVEL = 0.05
_FEWEST = 5
# Of the scores dealt out at random; fewer in a long search, for the sake of memory.
_DRAWS = 10_000
_FEWEST_DRAWS = 1_000
_DEALT = 20_000_000


def findings(records: Sequence[Record], importance: Mapping[str, float], score: Score) -> list[str]:
    """Sentences about what mattered.

    Args:
        records: all trials that have ended.
        importance: parameter -> what it explains of the differences between trials.
        score: the first score of the search.
    """
    found = [_outcomes(records)]
    if importance:
        ranked = sorted(importance.items(), key=lambda item: -item[1])
        shares = ", ".join(f"{name} ({share:.0%})" for name, share in ranked[:4])
        found.append(f"Of the differences between trials, single parameters explain: {shares}.")
    else:
        found.append("No parameter can be shown to explain differences between trials.")
    searched = [r for r in records if r.baseline is None and r.outcome == "complete"]
    found += _contrasts(searched, score)
    return found


def _outcomes(records: Sequence[Record]) -> str:
    counts = Counter(record.outcome for record in records)
    words = {
        "complete": "ran to their end",
        "pruned": "were stopped because they fell behind losses of their kind",
        "collapsed": "were stopped because they predicted background alone",
        "diverged": "ended in a loss that is NaN or infinite",
        "failed": "failed",
    }
    parts = [f"{counts[key]} {text}" for key, text in words.items() if counts[key]]
    return f"Of {len(records)} trials {', '.join(parts)}."


def _contrasts(records: Sequence[Record], score: Score) -> list[str]:
    """Which choices went with better scores, of those that enough trials made and did not."""
    values = np.array([record.score for record in records])
    terms = sorted({term for record in records for term in record.recipe.weights})
    questions: list[tuple[str, Callable[[Record], bool]]] = [
        (f"with {term}", lambda record, term=term: term in record.recipe.terms)  # type: ignore[misc]
        for term in terms
    ]
    questions += [
        ("with weights that move", lambda record: record.recipe.strategy != "static"),
        ("with an auxiliary term that fades", lambda record: record.recipe.auxiliary_scale > 0),
        ("with several terms", lambda record: len(record.recipe.terms) > 1),
    ]
    asked = []
    for name, test in questions:
        chosen = np.array([test(record) for record in records], bool)
        if min(chosen.sum(), (~chosen).sum()) >= _FEWEST:
            difference = float(values[chosen].mean() - values[~chosen].mean())
            asked.append((name, chosen, difference, _permuted(values, chosen, abs(difference))))
    found = []
    for (name, chosen, difference, _), p in zip(asked, holm([a[3] for a in asked]), strict=True):
        if p < _LEVEL:
            kind = "better" if score.sign * difference > 0 else "worse"
            found.append(
                f"Trials {name} scored {abs(difference):.4f} {kind} on average than those without "
                f"({chosen.sum()} against {(~chosen).sum()} trials, p = {p:.3f} after correction); "
                "since the sampler chose them, this is a hint and no experiment."
            )
    if asked and not found:
        found.append(
            f"None of {len(asked)} choices (terms, moving weights, an auxiliary term) went with "
            "clearly better or worse scores."
        )
    return found


def _permuted(values: npt.NDArray[np.float64], chosen: npt.NDArray[np.bool_], seen: float) -> float:
    """How often a difference as large arises when scores are dealt out at random."""
    rng = np.random.default_rng(0)
    draws = min(_DRAWS, max(_FEWEST_DRAWS, _DEALT // len(values)))
    shuffled = rng.permuted(np.tile(values, (draws, 1)), axis=1)
    difference = shuffled[:, chosen].mean(axis=1) - shuffled[:, ~chosen].mean(axis=1)
    return float((1 + (np.abs(difference) >= seen * (1 - 1e-9)).sum()) / (draws + 1))
