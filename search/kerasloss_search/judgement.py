"""What may be claimed in the end: the best loss, its comparisons, and the sentences about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kerasloss_search.comparison import Comparison, compare, holm, p_is, smallest_p
from kerasloss_search.jobs import Final
from kerasloss_search.records import Record
from kerasloss_search.scores import Score

__all__ = ["Judgement", "Paired", "judge", "sentences"]

_LEVEL = 0.05


@dataclass(frozen=True)
class Paired:
    """A searched loss against the best plain one, by one score.

    Attributes:
        record: the searched loss.
        score: what is compared.
        comparison: the comparison; its `p` is that of this pair alone.
        p: corrected for the number of comparisons.
    """

    record: Record
    score: Score
    comparison: Comparison
    p: float

    @property
    def gain(self) -> float:
        """The difference, turned so that more is better."""
        return self.score.sign * self.comparison.difference

    @property
    def clear(self) -> bool:
        """Whether a difference may be claimed: neither other images nor other seeds explain it."""
        return self.p < _LEVEL and not self.comparison.low <= 0.0 <= self.comparison.high


@dataclass(frozen=True)
class Judgement:
    """The outcome of the final stage.

    Attributes:
        records: losses that were trained anew.
        finals: trial -> its trainings.
        best: loss with the best mean validation score over the fresh seeds; test images have no say
            in it.
        plain: the best plain loss by the same measure, or None.
        searched: the best searched loss by the same measure, or None.
        pairs: every searched loss against `plain`, by every score.
    """

    records: Sequence[Record]
    finals: Mapping[int, Sequence[Final]]
    best: Record
    plain: Record | None
    searched: Record | None
    pairs: Sequence[Paired]

    def validation(self, record: Record) -> float:
        """Mean validation score over the fresh seeds."""
        return float(np.mean([final.validation for final in self.finals[record.number]]))

    def test(self, record: Record, score: str) -> npt.NDArray[np.float64]:
        """Scores of the test images, shape (seeds, images)."""
        return np.asarray([final.test[score] for final in self.finals[record.number]], float)


def judge(
    records: Sequence[Record],
    finals: Mapping[int, Sequence[Final]],
    groups: Sequence[str],
    scores: Sequence[Score],
) -> Judgement:
    """Chooses the best loss on validation images and compares on test images.

    Args:
        records: losses that were trained anew; at least one.
        finals: trial -> its trainings.
        groups: group of every test image.
        scores: the scores of the search; the first one chooses.
    """
    sign = scores[0].sign

    def best_of(some: Sequence[Record]) -> Record | None:
        def merit(record: Record) -> float:
            return sign * float(np.mean([final.validation for final in finals[record.number]]))

        return max(some, key=merit, default=None)

    best = best_of(records)
    if best is None:
        raise ValueError("`judge`: expected at least one loss. Received: none.")
    plain = best_of([record for record in records if record.baseline is not None])
    searched = [record for record in records if record.baseline is None]
    judgement = Judgement(records, finals, best, plain, best_of(searched), [])
    if plain is None:
        return judgement
    made = [
        (
            record,
            score,
            compare(judgement.test(record, score.name), judgement.test(plain, score.name), groups),
        )
        for record in searched
        for score in scores
        if score.per_image is not None
    ]
    corrected = holm([comparison.p for _, _, comparison in made])
    pairs = [Paired(*pair, p) for pair, p in zip(made, corrected, strict=True)]
    return Judgement(records, finals, best, plain, judgement.searched, pairs)


def sentences(judgement: Judgement, scores: Sequence[Score]) -> list[str]:
    """What may be said, in words; the claim first."""
    plain, searched = judgement.plain, judgement.searched
    optimism = _optimism(judgement, scores[0])
    if plain is None:
        return [
            "There is no plain loss to compare with: none can be made of the terms, or none ended.",
            optimism,
        ]
    if searched is None:
        return [f"No searched loss ended; {plain.baseline} is the best plain loss.", optimism]
    found = [_claim(pair, judgement) for pair in judgement.pairs if pair.record is searched]
    if not any(pair.clear for pair in judgement.pairs):
        found += _powerless(judgement)
    clear = [pair for pair in judgement.pairs if pair.clear and pair.record is not searched]
    found += [_claim(pair, judgement) for pair in clear]
    return [*found, optimism]


def _powerless(judgement: Judgement) -> list[str]:
    """Says so where not even the largest difference could have been claimed, and what is short."""
    units = judgement.pairs[0].comparison.units
    seeds = len(judgement.finals[judgement.pairs[0].record.number])
    count = len(judgement.pairs)
    short = [
        name
        for name, p in (
            ("groups of test images", smallest_p(units=units)),
            ("seeds", smallest_p(seeds=seeds)),
        )
        if p * count >= _LEVEL
    ]
    if not short:
        return []
    return [
        f"With {_many(units, 'independent group')} of test images and {_many(seeds, 'seed')} no "
        f"difference could have been shown, however large: more {' and '.join(short)} are needed "
        "for a claim."
    ]


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _claim(pair: Paired, judgement: Judgement) -> str:
    plain, comparison, unit = judgement.plain, pair.comparison, pair.score.unit
    assert plain is not None
    seeds = len(judgement.finals[pair.record.number])
    number = 2 if unit else 4
    evidence = (
        f"{comparison.difference:+.{number}f}{' ' + unit if unit else ''} {pair.score.title} "
        f"(95 % interval {comparison.low:+.{number}f} to {comparison.high:+.{number}f}; "
        f"{p_is(pair.p)}"
        + _corrected(len(judgement.pairs))
        + f"; {_many(seeds, 'seed')} each, {_many(comparison.units, 'independent group')} of test "
        f"images; {_trained(pair.record)} against {_trained(plain)})"
    )
    name = pair.record.recipe.label
    comma = ""
    if pair.record is judgement.searched:
        name, comma = f"the best searched loss, {name}", ","
    if not pair.clear:
        return f"No clear difference between {name}{comma} and {plain.baseline}: {evidence}."
    if pair.gain > 0:
        name = name.replace("the best", "The best", 1)
        return f"{name}{comma} beats the best plain loss, {plain.baseline}: {evidence}."
    return f"The best plain loss, {plain.baseline}, beats {name}: {evidence}."


def _optimism(judgement: Judgement, score: Score) -> str:
    best = judgement.best
    fresh = [final.validation for final in judgement.finals[best.number]]
    text = (
        f"best_loss.json holds {best.baseline or best.recipe.label}: validation {score.title} "
        f"{np.mean(fresh):.4f} on average over {_many(len(fresh), 'fresh seed')}, against "
        f"{best.score:.4f} in the search"
    )
    if len(fresh) > 1:
        text += f"; from seed to seed it varies by {np.std(fresh, ddof=1):.4f} (standard deviation)"
    return text + "."


def _trained(record: Record) -> str:
    """What the loss was trained with: a better learning rate is not a better loss."""
    return f"{record.recipe.optimizer} at {record.recipe.learning_rate:.1e}"


def _corrected(comparisons: int) -> str:
    return f" after correction for {comparisons} comparisons" if comparisons > 1 else ""
