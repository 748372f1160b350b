"""Draws `docs/images/what_losses_reward.png`: nine ways to get a truth wrong, and the cost.

    python docs/pictures/what_losses_reward.py

All nine cost the same in cross-entropy: eight have 52 wrong pixels, and the ninth has none but is a
little unsure everywhere. So whatever differs between them in another loss is what that loss is for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import kerasloss

SIZE = 96
WRONG = 52  # pixels
SURE = 0.999  # what a confident prediction says; not 1, so that its logarithm is finite

# Centre row, centre column, squared radius: chosen so that each error has 52 pixels.
WIDE, NARROW, SHIFTED = (22, 20, 81), (72, 20, 90), (20, 48, 41)
PAIR = ((78, 48.5, 74.5), (78, 71.5, 74.5))
TINY = ((42, 86, 4), (60, 86, 4), (58, 8, 4), (8, 70, 4))
FALSE, HOLE = (22.5, 80.5, 14.5), (22.5, 20.5, 14.5)

# With their defaults. What is left out of the library looks like one of these.
LOSSES = (
    "CrossEntropy",
    "Focal",
    "TopKCrossEntropy",
    "WeightedCrossEntropy",
    "Asymmetric",
    "Dice",
    "IoU",
    "Lovasz",
    "Tversky",
    "FocalTversky",
    "UnifiedFocal",
    "DistanceMap",
    "Boundary",
    "Hausdorff",
    "CLDice",
)
# What the errors are, and how many columns of them there are.
KINDS = {"false alarms": 3, "both": 1, "misses": 4, "none": 1}

Array = np.ndarray[Any, Any]


def truth() -> Array:
    """Large bubbles, tiny ones, and a curve two pixels wide."""
    return _disks(WIDE, NARROW, SHIFTED, *PAIR, *TINY) | _curve()


def predictions() -> dict[str, Array]:
    """Name of an error to the probabilities `(SIZE, SIZE)` that have this error alone."""
    right = truth()
    wide, narrow, moved = _disks(WIDE), _disks(NARROW), _disks(SHIFTED)
    errors = {
        "1 pixel\ntoo wide": _dilated(wide) & ~wide,
        "bubbles\njoined": _bridge(),
        "false\nbubble": _disks(FALSE),
        "shifted\nby 2": moved ^ np.roll(moved, 2, axis=1),
        "1 pixel\ntoo narrow": narrow & _dilated(~narrow),
        "hole in\na bubble": _disks(HOLE),
        "4 tiny\nmissed": _disks(*TINY),
        "curve cut\n3 times": _gaps(),
    }
    sure = {name: np.where(right ^ wrong, SURE, 1 - SURE) for name, wrong in errors.items()}
    cost = -WRONG * np.log(1 - SURE) - (SIZE**2 - WRONG) * np.log(SURE)
    unsure = np.exp(-cost / SIZE**2)
    return sure | {"unsure\neverywhere": np.where(right, unsure, 1 - unsure)}


def costs(names: tuple[str, ...] = LOSSES) -> Array:
    """The value of each loss (row) for each error (column), as the row's mean over wrong pixels."""
    y_true = truth()[None, ..., None].astype("float32")
    rows = []
    for name in names:
        loss = getattr(kerasloss, name)()
        rows.append([float(loss(y_true, p[None, ..., None])) for p in predictions().values()])
    values = np.array(rows)
    return values / values[:, :-1].mean(axis=1, keepdims=True)


def draw(path: Path) -> None:
    """Draws the errors above what they cost."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import LogNorm

    right, errors, values = truth(), predictions(), costs()
    columns, rows = len(errors), len(LOSSES)
    figure = plt.figure(figsize=(11.5, 8.2), dpi=130, facecolor="white")
    left, width, top = 0.165, 0.825, 0.885
    cell = width / columns
    picture = cell * 0.94 * 11.5 / 8.2

    def thumbnail(x: float, prediction: Array | None) -> None:
        axes = figure.add_axes((x, top - picture, cell * 0.94, picture))
        axes.imshow(_coloured(right, prediction), interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])

    thumbnail(left - cell * 1.25, None)
    figure.text(left - cell * 0.78, top + 0.008, "truth", ha="center", va="bottom", fontsize=10)
    for column, (name, prediction) in enumerate(errors.items()):
        thumbnail(left + cell * (column + 0.03), prediction)
        middle = left + cell * (column + 0.5)
        figure.text(middle, top + 0.008, name, ha="center", va="bottom", fontsize=10)

    start = 0
    for kind, count in KINDS.items():
        a, b = left + cell * (start + 0.06), left + cell * (start + count - 0.06)
        figure.add_artist(plt.Line2D((a, b), (0.945, 0.945), color="0.3", linewidth=1))
        wrong = "none wrong" if kind == "none" else kind
        figure.text((a + b) / 2, 0.95, wrong, ha="center", va="bottom", fontsize=10, weight="bold")
        start += count

    bottom = 0.085
    axes = figure.add_axes((left, bottom, width, top - picture - 0.012 - bottom))
    shown = axes.imshow(
        np.clip(values, 1 / 8, 8), cmap="PuOr_r", norm=LogNorm(1 / 8, 8), aspect="auto"
    )
    axes.set_yticks(range(rows), LOSSES, fontsize=10)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for row in range(rows):
        for column in range(columns):
            value = values[row, column]
            strong = not 1 / 3.2 < value < 3.2
            text = f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"
            colour = "white" if strong else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=10, color=colour)
    edges = np.cumsum(list(KINDS.values()))[:-1] - 0.5
    axes.vlines(edges, -0.5, rows - 0.5, color="white", linewidth=3)
    axes.hlines(np.arange(1, rows) - 0.5, -0.5, columns - 0.5, color="white", linewidth=1)

    scale = figure.add_axes((left + 0.43, 0.035, 0.39, 0.018))
    bar = figure.colorbar(shown, cax=scale, orientation="horizontal")
    bar.set_ticks(
        [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], labels=["1/8", "1/4", "1/2", "1", "2", "4", "8"]
    )
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)
    figure.text(
        left,
        0.044,
        "cost, as a multiple of the mean of the row\nover the eight with wrong pixels",
        fontsize=9.5,
        va="center",
    )
    for y, name, colour in ((0.055, "miss", MISS), (0.03, "false alarm", FALSE_ALARM)):
        patch = plt.Rectangle((0.01, y - 0.006), 0.012, 0.016, color=np.array(colour) / 255)
        figure.add_artist(patch)
        figure.text(0.028, y + 0.002, name, fontsize=9.5, va="center")
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


# Told apart by the colour-blind, and in grey.
BACKGROUND, OBJECT, FALSE_ALARM, MISS = (245, 245, 245), (165, 165, 165), (213, 94, 0), (0, 60, 140)


def _coloured(right: Array, prediction: Array | None) -> Array:
    picture = np.where(right[..., None], OBJECT, BACKGROUND)
    if prediction is None:
        return picture.astype("uint8")
    found = prediction > 0.5
    picture[found & ~right], picture[right & ~found] = FALSE_ALARM, MISS
    if (found == right).all():  # unsure: half the contrast stands for it
        picture = (picture + np.mean([OBJECT, BACKGROUND], axis=0)) / 2
    return picture.astype("uint8")


def _disks(*disks: tuple[float, float, float]) -> Array:
    rows, columns = np.indices((SIZE, SIZE))
    inside = np.zeros((SIZE, SIZE), bool)
    for row, column, squared in disks:
        inside |= (rows - row) ** 2 + (columns - column) ** 2 <= squared
    return inside


def _curve() -> Array:
    rows, columns = np.indices((SIZE, SIZE))
    top = np.floor(46 + 5 * np.sin(columns / 9))
    return (rows >= top) & (rows < top + 2) & (columns >= 8) & (columns < 74)


def _gaps() -> Array:
    columns = np.indices((SIZE, SIZE))[1]
    gaps = ((18, 27), (37, 45), (55, 64))
    return _curve() & np.any([(columns >= a) & (columns < b) for a, b in gaps], axis=0)


def _bridge() -> Array:
    rows, columns = np.indices((SIZE, SIZE))
    return (rows >= 76) & (rows < 84) & (columns > 48) & (columns < 72) & ~_disks(*PAIR)


def _dilated(mask: Array) -> Array:
    wide = mask.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            wide |= np.roll(mask, step, axis=axis)
    return wide


if __name__ == "__main__":
    draw(Path(__file__).parent.parent / "images" / "what_losses_reward.png")
