"""What a search teaches beyond its best loss: sentences that its trials support."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from kerasloss_search.comparison import holm, p_is
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
        found.append(
            "Taken one by one, among the trials that used it, each of these parameters went with "
            f"so much of the differences in rank: {shares}; a hint, since the sampler chose them."
        )
    else:
        found.append("No parameter can be shown to explain differences between trials.")
    found += _contrasts([record for record in records if record.baseline is None], score)
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


def _contrasts(searched: Sequence[Record], score: Score) -> list[str]:
    """Which choices went with better scores, of those that enough trials made and did not."""
    records = [record for record in searched if record.outcome == "complete"]
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
            chance = _permuted(values, chosen, abs(difference))
            asked.append((name, chosen, difference, chance, _stopped(searched, test)))
    found = []
    corrected = holm([chance for *_, chance, _ in asked])
    for (name, chosen, difference, _, stopped), p in zip(asked, corrected, strict=True):
        if p < _LEVEL:
            kind = "better" if score.sign * difference > 0 else "worse"
            found.append(
                f"Of the trials that ran to their end, those {name} scored {abs(difference):.4f} "
                f"{kind} on average than those without ({chosen.sum()} against {(~chosen).sum()}, "
                f"{p_is(p)} after correction){stopped}; since "
                "the sampler chose them, this is a hint and no experiment."
            )
    if asked and not found:
        found.append(
            "No choice of a term, of moving weights or of an auxiliary term went with clearly "
            f"better or worse scores, of the {len(asked)} that enough trials made and did not make."
        )
    return found


def _stopped(searched: Sequence[Record], test: Callable[[Record], bool]) -> str:
    """Those that did not run to their end: they are not in the mean, which they would lower."""
    told = []
    for word, side in (("with", True), ("without", False)):
        some = [record for record in searched if test(record) is side]
        stopped = sum(record.outcome != "complete" for record in some)
        if stopped:
            told.append(f"{stopped} of {len(some)} {word}")
    return f"; {' and '.join(told)} did not" if told else ""


def _permuted(values: npt.NDArray[np.float64], chosen: npt.NDArray[np.bool_], seen: float) -> float:
    """How often a difference as large arises when scores are dealt out at random."""
    rng = np.random.default_rng(0)
    draws = min(_DRAWS, max(_FEWEST_DRAWS, _DEALT // len(values)))
    shuffled = rng.permuted(np.tile(values, (draws, 1)), axis=1)
    difference = shuffled[:, chosen].mean(axis=1) - shuffled[:, ~chosen].mean(axis=1)
    return float((1 + (np.abs(difference) >= seen * (1 - 1e-9)).sum()) / (draws + 1))
