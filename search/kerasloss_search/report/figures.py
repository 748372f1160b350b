"""The plots of a report: each is drawn from a finished search, or says why it cannot be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from kerasloss_search.report.drawing import (
    DASHES,
    FAINT,
    INK,
    MUTED,
    OKABE_ITO,
    PAPER,
    Picture,
    drawn,
    wrapped,
)
from kerasloss_search.report.finished import Finished, Score, Trial, name_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves", "history", "importance", "ranking", "weights"]

_WIDTH = 7.6
_LEGEND_LINE = 0.17
_SHOWN_PARAMETERS = 15
_LEAST_SHARE = 0.005
_SHOWN_WEIGHTS = 4
_COLOURS = tuple(OKABE_ITO.values())


def ranking(finished: Finished) -> Picture | str:
    """Mean, 95 % interval and every seed on the test images, the best on validation above."""
    score = finished.main
    finals = [one for one in finished.finals if score.name in one.test]
    if not finals:
        return (
            "The final trainings are not there yet: the best losses and the plain ones are "
            "trained anew, with fresh seeds, once all trials have ended."
        )
    names = [wrapped(name_of(one), 40, 3) for one in finals]
    heights = [max(0.3, 0.16 + 0.14 * len(name.splitlines())) for name in names]
    centres = [end - height / 2 for end, height in zip(accumulate(heights), heights, strict=True)]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for centre, final in zip(centres, finals, strict=True):
            measured, wins = final.test[score.name], final.trial == finished.best
            colour = OKABE_ITO["vermilion" if final.baseline is None else "blue"]
            axes.plot(
                (measured.low, measured.high),
                (centre, centre),
                color=colour,
                linewidth=4.5 if wins else 2,
                solid_capstyle="butt",
            )
            axes.plot(measured.per_seed, [centre] * len(measured.per_seed), "|", color=MUTED, ms=9)
            shape = "o" if final.baseline is None else "D"
            axes.plot(measured.mean, centre, shape, color=colour, mec=PAPER, ms=9 if wins else 7)
            if wins:
                axes.axvline(measured.mean, color=MUTED, linewidth=0.8, linestyle=DASHES[2])
        axes.set_yticks(centres, names)
        axes.set_ylim(sum(heights), 0)
        axes.set_xlabel(f"{score.heading} on test images")
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)

    return drawn(
        "ranking",
        draw,
        size=(_WIDTH, 0.6 + sum(heights)),
        alt=f"{score.title} of {len(finals)} losses on the test images, with intervals.",
        caption=(
            f"{score.title} on the test images: mean (round: searched, diamond: plain), 95 % "
            "interval (bar) and each seed (stroke). The dotted line is the best loss."
        ),
    )


def curves(finished: Finished) -> Picture | str:
    """Validation score by epoch: the plain losses, the best, and all others in grey."""
    score = finished.main
    trained = [one for one in finished.trials if any(map(math.isfinite, one.curve))]
    if not trained:
        return "No trial has ended an epoch yet, so there are no learning curves."
    named = [one for one in trained if one.baseline is not None or one.trial == finished.best]
    named.sort(key=lambda one: score.order(one.validation))
    epochs = max(len(one.curve) for one in trained)
    thin = 0.7 if len(trained) < 80 else 0.4
    zoomed = epochs >= 6 and bool(named)
    labels = [
        wrapped(name_of(one) + (" (best)" if one.trial == finished.best else ""), 46, 3)
        for one in named
    ]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 2 if zoomed else 1, squeeze=False)[0]
        for axes in panels:
            for trial in trained:
                if trial not in named:
                    axes.plot(_epochs(trial), trial.curve, color=FAINT, linewidth=thin, zorder=1)
            lines = [_named_curve(axes, one, place, finished) for place, one in enumerate(named)]
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
        panels[0].set_ylabel(f"{score.heading} on validation images")
        if zoomed:
            _zoom(panels[1], [one.curve for one in named], epochs)
        if named:
            figure.legend(lines, labels, loc="outside lower left", ncols=2)

    others = len(trained) - len(named)
    known = any(one.trial == finished.best for one in named)
    return drawn(
        "curves",
        draw,
        size=(_WIDTH, 3.2 + _legend_height(labels)),
        alt=f"{score.title} on validation images by epoch for {len(trained)} trials.",
        caption=(
            f"{score.title} on the validation images by epoch: the plain losses"
            f"{', the best one (thick)' if known else ''} and {others} other "
            f"trial{'s' * (others != 1)} (grey)"
            f"{'; the last third enlarged on the right' if zoomed else ''}."
        ),
    )


def _named_curve(axes: Axes, trial: Trial, place: int, finished: Finished) -> Artist:
    best = trial.trial == finished.best
    look = {"color": INK, "linestyle": "-"} if best else _look(place)
    (line,) = axes.plot(
        _epochs(trial),
        trial.curve,
        **look,
        linewidth=2.6 if best else 1.5,
        marker="o" if len(trial.curve) == 1 else None,
        zorder=3 if best else 2,
    )
    return line


def _zoom(axes: Axes, shown: Sequence[Sequence[float]], epochs: int) -> None:
    start = epochs - epochs // 3
    late = [value for curve in shown for value in curve[start - 1 :] if math.isfinite(value)]
    if late:
        room = 0.08 * (max(late) - min(late)) or 0.01
        axes.set_xlim(start, epochs + 0.02 * epochs)
        axes.set_ylim(min(late) - room, max(late) + room)


def weights(finished: Finished) -> Picture | str:
    """Weights by epoch of the best searched trials whose weights move."""
    searched = [one for one in finished.trials if one.baseline is None and _weights(one)]
    moving = [one for one in searched if _moves(one)]
    if not searched:
        return "No searched trial has told its weights yet, so there is nothing to show."
    if not moving:
        return (
            f"No weight moves in any of the {len(searched)} searched trials: all of them kept "
            "the weights that they began with."
        )
    moving.sort(key=lambda one: finished.main.order(one.validation))
    shown = moving[:_SHOWN_WEIGHTS]
    terms = list(dict.fromkeys(name for one in shown for name in _weights(one)))
    titles = [wrapped(name_of(one), 50, 4) for one in shown]
    columns, rows = min(2, len(shown)), -(-len(shown) // 2)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False)
        lines: dict[str, Artist] = {}
        for axes, trial, title in zip(panels.flat, shown, titles, strict=False):
            for name, values in _weights(trial).items():
                place = terms.index(name)
                (lines[name],) = axes.plot(
                    range(1, len(values) + 1),
                    values,
                    linewidth=1.8,
                    **_look(place),
                )
            axes.set_title(title, fontsize=8)
            axes.set(xlabel="epoch", ylabel="weight")
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
            axes.xaxis.get_major_locator().set_params(integer=True)
        for axes in panels.flat[len(shown) :]:
            axes.remove()
        keys = [name.removeprefix("weight/").lstrip("_") for name in lines]
        figure.legend(lines.values(), keys, loc="outside lower left", ncols=4)

    return drawn(
        "weights",
        draw,
        size=(_WIDTH, 2.7 * rows + 0.25 * -(-len(terms) // 4)),
        alt=f"Weights of the terms by epoch in {len(shown)} trials.",
        caption=(
            f"Weights of the terms by epoch in the best {len(shown)} of the {len(moving)} "
            f"searched trials whose weights move ({len(searched)} were searched)."
        ),
    )


def _weights(trial: Trial) -> dict[str, tuple[float, ...]]:
    return {
        name: values
        for name, values in trial.logs.items()
        if name.startswith("weight/") and any(map(math.isfinite, values))
    }


def _moves(trial: Trial) -> bool:
    for values in _weights(trial).values():
        known = [value for value in values if math.isfinite(value)]
        # Less than a hundredth is rounding, or a strategy that has found nothing to do.
        if max(known) - min(known) > 0.01 * max(map(abs, known)):
            return True
    return False


def history(finished: Finished) -> Picture | str:
    """Score by number of the trial, the best so far, and how the trials ended."""
    score = finished.main
    if not finished.trials:
        return "No trial has ended yet."
    scored = [one for one in finished.trials if math.isfinite(one.validation)]
    unscored = [one for one in finished.trials if not math.isfinite(one.validation)]

    def draw(figure: Figure) -> None:
        ratios = {"height_ratios": (6, 1)} if unscored else {}
        panels = figure.subplots(
            2 if unscored else 1, 1, squeeze=False, sharex=True, gridspec_kw=ratios
        )[:, 0]
        for label, shape, colour, filled in _KINDS:
            for axes, trials in zip(panels, (scored, unscored), strict=False):
                chosen = [one for one in trials if _kind(one) == label]
                heights = [one.validation if axes is panels[0] else 0.0 for one in chosen]
                axes.plot(
                    [one.trial for one in chosen],
                    heights,
                    shape,
                    color=colour,
                    markerfacecolor=colour if filled else "none",
                    label=label if chosen else "",
                    markersize=5.5,
                )
        _running_best(panels[0], scored, score)
        panels[0].set_ylabel(f"{score.heading} on validation images")
        panels[-1].set_xlabel("trial")
        panels[-1].xaxis.get_major_locator().set_params(integer=True)
        if unscored:
            panels[1].set(yticks=(0.0,), yticklabels=("no score",), ylim=(-1, 1))
        entries: dict[str, Artist] = {}
        for axes in panels:
            for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
                entries.setdefault(label, line)
        figure.legend(entries.values(), entries.keys(), loc="outside lower left", ncols=4)

    ended = ", ".join(
        f"{count} {label}{'es' * (label == 'plain loss' and count > 1)}"
        for label, *_ in _KINDS
        if (count := sum(_kind(one) == label for one in finished.trials))
    )
    return drawn(
        "history",
        draw,
        size=(_WIDTH, 4.2 if unscored else 3.8),
        alt=f"{score.title} by number of the trial: {ended}.",
        caption=f"{score.title} on the validation images by number of the trial: {ended}.",
    )


_KINDS = (
    ("plain loss", "D", OKABE_ITO["blue"], True),
    ("searched", "o", OKABE_ITO["vermilion"], True),
    ("pruned", "v", MUTED, False),
    ("collapsed", "s", OKABE_ITO["purple"], False),
    ("diverged", "x", INK, True),
    ("failed", "+", INK, True),
)


def _kind(trial: Trial) -> str:
    if trial.outcome == "complete":
        return "searched" if trial.baseline is None else "plain loss"
    return trial.outcome if any(trial.outcome == kind[0] for kind in _KINDS) else "failed"


def _running_best(axes: Axes, scored: Sequence[Trial], score: Score) -> None:
    ended = [one for one in scored if one.outcome == "complete"]
    better = max if score.higher_is_better else min
    so_far = list(accumulate((one.validation for one in ended), better))
    if ended:
        numbers = [one.trial for one in ended] + [max(one.trial for one in scored)]
        values = [*so_far, so_far[-1]]
        axes.step(numbers, values, where="post", color=INK, lw=1.2, label="best so far", zorder=1)


def importance(finished: Finished) -> Picture | str:
    """Share of every parameter in the differences between trials."""
    shares = sorted(finished.importance.items(), key=lambda one: -one[1])
    shares = [(name, share) for name, share in shares if math.isfinite(share)]
    if not shares:
        return (
            "No parameter can be said to matter: the search has not come to its end, too few "
            "trials have ended, or none explains more of their differences than chance would."
        )
    shown = [one for one in shares if one[1] >= _LEAST_SHARE][:_SHOWN_PARAMETERS] or shares[:1]
    left_out = shares[len(shown) :]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = range(len(shown))
        bars = axes.barh(places, [share for _, share in shown], 0.66, color=OKABE_ITO["blue"])
        axes.bar_label(bars, [f"{share:.0%}" for _, share in shown], padding=4)
        axes.set_yticks(places, [wrapped(name, 44, 2) for name, _ in shown])
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_xticks([])
        axes.margins(x=0.08, y=0.02)

    rest = ""
    if left_out:
        rest = f" {len(left_out)} more explain less."
    return drawn(
        "importance",
        draw,
        size=(_WIDTH, 0.3 + 0.28 * len(shown)),
        alt=f"Importance of {len(shown)} parameters; first {shown[0][0]}, {shown[0][1]:.0%}.",
        caption=(
            "Share of the differences in rank that goes with each parameter, taken by itself among "
            f"the trials that used it, where chance does not explain it.{rest}"
        ),
    )


def _look(place: int) -> dict[str, Any]:
    """Colour and dashes of a line; the first eighteen differ."""
    colours = len(_COLOURS)
    dashes = DASHES[(place + place // colours) % len(DASHES)]
    return {"color": _COLOURS[place % colours], "linestyle": dashes}


def _epochs(trial: Trial) -> range:
    return range(1, len(trial.curve) + 1)


def _legend_height(labels: Sequence[str]) -> float:
    rows = [labels[place :: max(1, -(-len(labels) // 2))] for place in range(-(-len(labels) // 2))]
    return _LEGEND_LINE * sum(max(len(one.splitlines()) for one in row) for row in rows) + 0.1
