"""What the user sees in the end: a table, one honest sentence, and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from kerasloss_search.driver import Judged
from kerasloss_search.scores import paired_difference
from kerasloss_search.study import Record

__all__ = ["closing_table", "draw_curves", "draw_overlays", "verdict", "write_results"]

# Okabe and Ito's colours: told apart by everyone, in print too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")


def closing_table(judged: Sequence[Judged], best: Record) -> Table:
    """Baselines against the best loss found, on validation and on test images."""
    table = Table(title="Dice of the foreground; bold: best on validation", title_justify="left")
    table.add_column("loss")
    table.add_column("trial", justify="right")
    table.add_column("validation", justify="right")
    table.add_column("test", justify="right")
    table.add_column("test, 95 % interval", justify="right")
    for entry in sorted(judged, key=lambda one: -one.record.score):
        record = entry.record
        _, low, high = paired_difference(entry.test, np.zeros_like(entry.test))
        searched = f"searched: {record.recipe.label}, rate {record.recipe.learning_rate:.1e}"
        table.add_row(
            record.baseline or searched,
            str(record.number),
            f"{record.score:.4f}",
            f"{entry.test.mean():.4f}",
            f"{low:.3f} to {high:.3f}",
            style="bold" if record.number == best.number else None,
        )
    return table


def verdict(judged: Sequence[Judged]) -> str:
    """What may be said about the best searched loss against the best plain one."""
    ranked = sorted(judged, key=lambda one: -one.record.score)
    plain = next((entry for entry in ranked if entry.record.baseline is not None), None)
    ours = next((entry for entry in ranked if entry.record.baseline is None), None)
    if plain is None:
        return "No plain loss ended, so there is nothing to compare with."
    if ours is None:
        return f"No searched loss ended; {plain.record.baseline} is the best plain loss."
    difference, low, high = paired_difference(ours.test, plain.test)
    numbers = (
        f"{difference:+.4f} Dice on {len(ours.test)} test images "
        f"(95 % interval {low:+.4f} to {high:+.4f}, paired by image)"
    )
    name = plain.record.baseline
    if low > 0 and ours.record.score > plain.record.score:
        claim = f"The best searched loss beats the best plain loss, {name}: {numbers}."
    elif high < 0:
        claim = f"The best plain loss, {name}, beats every searched loss: {numbers}."
    else:
        claim = f"No clear difference between the best searched loss and {name}: {numbers}."
    return f"{claim} One training each: another seed may turn a small difference around."


def write_results(
    path: Path, judged: Sequence[Judged], records: Sequence[Record], best: Record, sentence: str
) -> None:
    """Writes everything in the table, and every trial, as JSON."""
    tests = {entry.record.number: entry.test.tolist() for entry in judged}
    trials = [
        {
            "trial": record.number,
            "loss": record.baseline or record.recipe.label,
            "baseline": record.baseline,
            "outcome": record.outcome,
            "validation": record.score,
            "seconds": record.seconds if np.isfinite(record.seconds) else None,
            "test_per_image": tests.get(record.number),
            "recipe": _plain(asdict(record.recipe)),
        }
        for record in records
    ]
    content = {"best_trial": best.number, "verdict": sentence, "trials": trials}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def draw_curves(path: Path, records: Sequence[Record], best: Record) -> None:
    """Validation score by epoch: the baselines, the best, and all others in grey."""
    figure, axes = _axes(1, 1, (10.0, 4.5))
    plot = axes[0][0]
    named = [record for record in records if record.baseline or record.number == best.number]
    for record in records:
        if record not in named and record.curve:
            plot.plot(_epochs(record), record.curve, color="0.85", linewidth=0.8, zorder=1)
    for colour, record in zip(_COLOURS, sorted(named, key=lambda one: -one.score), strict=False):
        is_best = record.number == best.number
        name = _wrapped(record.baseline or record.recipe.label, 34)
        plot.plot(
            _epochs(record),
            record.curve,
            color="black" if is_best else colour,
            linewidth=2.2 if is_best else 1.3,
            label=f"{name} (best found)" if is_best else name,
            zorder=3 if is_best else 2,
        )
    plot.set_xlabel("epoch")
    plot.set_ylabel("Dice on validation images")
    plot.set_ylim(0, 1)
    plot.grid(alpha=0.3)
    plot.xaxis.get_major_locator().set_params(integer=True)
    plot.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8, frameon=False)
    figure.savefig(path, dpi=150)


def draw_overlays(
    path: Path,
    images: npt.NDArray[np.float32],
    truths: npt.NDArray[np.uint8],
    predictions: Mapping[str, npt.NDArray[np.uint8]],
    names: Sequence[str],
) -> None:
    """Rows of images: truth outlined, then each prediction's hits, misses and false alarms."""
    columns = 2 + len(predictions)
    figure, axes = _axes(len(images), columns, (2.4 * columns, 2.5 * len(images) + 0.6))
    titles = ["image", "truth", *predictions]
    for row, (image, truth) in enumerate(zip(images, truths, strict=True)):
        shown = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
        low, high = shown.min(), shown.max()
        shown = (shown - low) / max(float(high - low), 1e-6)
        panels = [shown, _painted(shown, truth, truth)]
        panels += [_painted(shown, truth, predicted[row]) for predicted in predictions.values()]
        for column, panel in enumerate(panels):
            plot = axes[row][column]
            plot.imshow(panel, interpolation="nearest")
            plot.set_xticks([])
            plot.set_yticks([])
            if row == 0:
                plot.set_title(_wrapped(titles[column]), fontsize=8)
        axes[row][0].set_ylabel(_wrapped(names[row], 22), fontsize=7)
    figure.text(
        0.5, 0.005, "blue: found   orange: missed   pink: false alarm", ha="center", fontsize=9
    )
    figure.savefig(path, dpi=130)


def _painted(
    image: npt.NDArray[np.float32], truth: npt.NDArray[np.uint8], predicted: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """The image with hits, misses and false alarms in colour."""
    painted = image.copy()
    found, missed = (truth > 0) & (predicted == truth), (truth > 0) & (predicted != truth)
    missed &= truth != 255
    alarm = (predicted > 0) & (truth == 0)
    for area, colour in ((found, "#0072B2"), (missed, "#E69F00"), (alarm, "#CC79A7")):
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], "float32") / 255.0
        painted[area] = 0.45 * painted[area] + 0.55 * rgb
    return painted


def _axes(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    # Without pyplot: no global state, no window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _epochs(record: Record) -> list[int]:
    return list(range(1, len(record.curve) + 1))


def _wrapped(text: str, width: int = 26) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width)) or text


def _plain(value: Any) -> Any:
    """Infinite numbers have no place in JSON."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return value
