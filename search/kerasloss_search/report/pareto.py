"""The picture of the best compromises between several scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kerasloss_search.report.drawing import FAINT, INK, MUTED, OKABE_ITO, Picture, drawn
from kerasloss_search.report.finished import Finished, Score, Trial

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["front_trials", "pareto"]

_WIDTH = 7.6
_LABEL_PT = (30.0, 12.0)


def pareto(finished: Finished) -> Picture | str:
    """The trials that no other beats in every score, among all trials."""
    if len(finished.scores) < 2:
        return (
            f"This search has one score, {finished.main.title}, so there is a best loss and no "
            "front of compromises."
        )
    front = front_trials(finished)
    if not front:
        return "The front of compromises is not known yet: no trial has all its scores."
    main, others = finished.main, finished.scores[1:]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(others), squeeze=False)[0]
        for axes, other in zip(panels, others, strict=True):
            _panel(axes, finished, front, other, main)
        panels[0].set_ylabel(f"{main.heading}, {_better(main)}")
        entries: dict[str, Artist] = {}
        for line, label in zip(*panels[0].get_legend_handles_labels(), strict=True):
            entries.setdefault(label, line)
        figure.legend(entries.values(), entries.keys(), loc="outside lower left", ncols=4)

    return drawn(
        "pareto",
        draw,
        size=(_WIDTH, _height(len(others))),
        alt=(
            f"{main.title} against {', '.join(one.title for one in others)} of every trial, with "
            f"{len(front)} on the front."
        ),
        caption=(
            "Scores on the validation images of the trials that ran to their end: no other is "
            "better in every score than those on the front. The numbers are the trials'."
        ),
    )


def front_trials(finished: Finished) -> list[Trial]:
    """The trials on the front that have every score, the best in the main one first."""
    front = [one for one in finished.trials if one.trial in (finished.pareto or ())]
    front = [one for one in front if _has_all(one, finished.scores)]
    return sorted(front, key=lambda one: finished.main.order(one.values[finished.main.name]))


def _panel(
    axes: Axes, finished: Finished, front: Sequence[Trial], across: Score, up: Score
) -> None:
    # Those that were stopped have scores, too, but no say in the front.
    rest = [
        one
        for one in finished.trials
        if one not in front and one.outcome == "complete" and _has_all(one, finished.scores)
    ]
    groups = (
        ("searched", [one for one in rest if one.baseline is None], "o", MUTED, FAINT, 5.0),
        ("plain loss", [one for one in rest if one.baseline], "D", MUTED, MUTED, 5.0),
        ("on the front", front, "o", OKABE_ITO["vermilion"], OKABE_ITO["vermilion"], 7.0),
    )
    if len(finished.scores) == 2:
        # With more scores the front is no line in any two of them.
        axes.plot(*_places(front, across, up), color=OKABE_ITO["vermilion"], linewidth=1.0)
    for label, trials, shape, edge, fill, size in groups:
        if trials:
            axes.plot(
                *_places(trials, across, up),
                shape,
                label=label,
                markeredgecolor=edge,
                markerfacecolor=fill,
                markersize=size,
            )
    best = [one for one in front if one.trial == finished.best]
    if best:
        axes.plot(
            *_places(best, across, up),
            "o",
            label="best",
            markersize=12,
            markerfacecolor="none",
            markeredgecolor=INK,
            markeredgewidth=1.6,
        )
    axes.set_xlabel(f"{across.heading}, {_better(across)}")
    axes.margins(0.08)
    panels = len(finished.scores) - 1
    _number(axes, [*best, *front], across, up, (_WIDTH / panels, _height(panels)))


def _number(
    axes: Axes, trials: Sequence[Trial], across: Score, up: Score, size: tuple[float, float]
) -> None:
    """Write the numbers beside the points, but none onto another: a table has them all."""
    taken: list[tuple[float, float]] = []
    # The layout is not known yet; about that much of the figure is left for the panels.
    width, height = (0.85 * 72 * side for side in size)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for trial in trials:
        point = (trial.values[across.name], trial.values[up.name])
        x = width * (point[0] - left) / (right - left)
        y = height * (point[1] - bottom) / (top - bottom)
        if all(abs(x - a) > _LABEL_PT[0] or abs(y - b) > _LABEL_PT[1] for a, b in taken):
            taken.append((x, y))
            axes.annotate(f"#{trial.trial}", point, (6, 6), textcoords="offset points", fontsize=8)


def _height(panels: int) -> float:
    return 4.4 if panels == 1 else 3.6


def _places(trials: Sequence[Trial], across: Score, up: Score) -> tuple[list[float], list[float]]:
    return [one.values[across.name] for one in trials], [one.values[up.name] for one in trials]


def _better(score: Score) -> str:
    return "higher is better" if score.higher_is_better else "lower is better"


def _has_all(trial: Trial, scores: Sequence[Score]) -> bool:
    return all(math.isfinite(trial.values.get(one.name, math.nan)) for one in scores)
