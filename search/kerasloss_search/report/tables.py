"""The tables of a report."""

from __future__ import annotations

import math
from collections import Counter

from kerasloss_search.report.finished import Comparison, Finished, Measured, Score, name_of
from kerasloss_search.report.page import Html, breakable, folded, missing, table, text
from kerasloss_search.report.pareto import front_trials

__all__ = ["comparisons", "front", "preliminary", "ranking", "trials"]

_PRELIMINARY = 10


def ranking(finished: Finished) -> Html:
    """Final trainings with intervals, and each one's difference from the one compared with."""
    main = finished.main
    against = _reference(finished)
    found = {one.trial: one for one in _against(finished, against)}
    head = ["loss", "seeds", f"{main.heading}, validation"]
    head += [f"{score.heading}, test" for score in finished.scores]
    if against is not None:
        head += [f"difference from #{against}", "p, corrected"]
    rows, best = [], None
    for place, final in enumerate(finished.finals):
        if final.trial == finished.best:
            best = place
        cells = [
            _loss(name_of(final), final.baseline is not None, final.trial == finished.best),
            text(len(final.seeds)),
            text(main.written(final.validation_mean)),
            *(_measured(final.test.get(score.name), score) for score in finished.scores),
        ]
        if against is not None:
            cells += _difference(found.get(final.trial), main, final.trial == against)
        rows.append(cells)
    caption = (
        f"Losses trained anew, in the order of their mean {main.title} on validation images, "
        "which decides. Test: mean over images and seeds, and its 95 % interval."
    )
    if against is not None:
        caption += f" Differences in {main.title} on test images, paired by image."
    return table(caption, head, rows, numbers=range(1, len(head)), best=best)


def comparisons(finished: Finished) -> Html:
    """Every comparison that was made, as it was made."""
    if not finished.comparisons:
        return missing("No losses were compared: it takes two that were trained anew.")
    scores = {score.name: score for score in finished.scores}
    rows = []
    for one in finished.comparisons:
        score = scores.get(one.score, Score(one.score, one.score, True, ""))
        rows.append(
            [
                text(f"#{one.trial} against #{one.against}"),
                text(score.heading),
                *_difference(one, score, False),
                text(probability(one.p_raw)),
                text("–" if one.units is None else one.units),
            ]
        )
    shown = table(
        "All comparisons on the test images. The first p is corrected for their number; units "
        "are the independent groups of images.",
        ("losses", "score", "difference", "p, corrected", "p, single", "units"),
        rows,
        numbers=(2, 3, 4, 5),
    )
    return folded(f"All {len(rows)} comparisons", shown)


def preliminary(finished: Finished) -> Html:
    """The best trials on validation images, as long as there is nothing better."""
    ranked = finished.ranked_trials()
    if not ranked:
        return missing("No trial has ended yet.")
    rows = [
        [
            _loss(name_of(one), one.baseline is not None, False),
            text(finished.main.written(one.validation)),
        ]
        for one in ranked[:_PRELIMINARY]
    ]
    return table(
        "Until then: the best trials on validation images. They were chosen by these very "
        "numbers, which flatter them.",
        ("loss", f"{finished.main.heading}, validation"),
        rows,
        numbers=(1,),
    )


def trials(finished: Finished) -> Html:
    """Every trial of the search."""
    rows = [
        [
            _loss(name_of(one), one.baseline is not None, one.trial == finished.best),
            text(one.family),
            text(one.outcome),
            text(finished.main.written(one.validation)),
            text(f"{one.seconds:.1f}" if math.isfinite(one.seconds) else "–"),
            text(one.note),
        ]
        for one in finished.trials
    ]
    head = ("loss", "family", "outcome", f"{finished.main.heading}, validation", "seconds", "note")
    shown = table("Every trial of the search, by its number.", head, rows, numbers=(3, 4))
    return folded(f"All {len(rows)} trials", shown)


def front(finished: Finished) -> Html:
    """The trials that no other beats in every score."""
    rows = [
        [
            _loss(name_of(one), one.baseline is not None, one.trial == finished.best),
            *(text(score.written(one.values[score.name])) for score in finished.scores),
        ]
        for one in front_trials(finished)
    ]
    head = ["loss", *(f"{score.heading}, validation" for score in finished.scores)]
    return table("The front.", head, rows, numbers=range(1, len(head)))


def probability(p: float) -> str:
    """A p-value with three digits, never as 0."""
    if not math.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _reference(finished: Finished) -> int | None:
    """The trial that most comparisons in the main score have in common."""
    count = Counter(
        number
        for one in finished.comparisons
        if one.score == finished.main.name
        for number in (one.trial, one.against)
    )
    # Of two that are compared with each other alone, the one that was compared with.
    later = {one.against for one in finished.comparisons}
    return max(count, key=lambda one: (count[one], one in later), default=None)


def _against(finished: Finished, reference: int | None) -> list[Comparison]:
    shown = [one for one in finished.comparisons if one.score == finished.main.name]
    turned = [one.turned() for one in shown if one.trial == reference]
    return turned + [one for one in shown if one.against == reference]


def _loss(loss: str, plain: bool, best: bool) -> Html:
    badges = [*(["plain"] if plain else []), *(["best"] if best else [])]
    marks = "".join(f' <span class="badge">{badge}</span>' for badge in badges)
    return Html(f"{breakable(loss)}{marks}")


def _measured(measured: Measured | None, score: Score) -> Html:
    if measured is None:
        return text("–")
    interval = f"{score.written(measured.low)} to {score.written(measured.high)}"
    return Html(f'{text(score.written(measured.mean))}<span class="interval">{interval}</span>')


def _difference(one: Comparison | None, score: Score, itself: bool) -> list[Html]:
    if one is None:
        return [text("compared with" if itself else "–"), text("–")]
    low, high = score.written(one.low, signed=True), score.written(one.high, signed=True)
    difference = text(score.written(one.difference, signed=True))
    return [
        Html(f'{difference}<span class="interval">{low} to {high}</span>'),
        text(probability(one.p)),
    ]
