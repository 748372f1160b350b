"""Test images side by side: the image, the truth, and what two losses made of it."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from kerasloss_search.dataset import IGNORED, Dataset
from kerasloss_search.report.drawing import OKABE_ITO, sheet, wrapped
from kerasloss_search.report.finished import Final, Finished, name_of, readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Mark", "Overlays", "Panel", "Row", "key_of", "overlays", "read_data"]

Pixels = npt.NDArray[np.uint8]

_SIDE = 320

_YELLOW = "#f0e442"
# None of these means anything else in the pictures; they start again after the last.
_CLASS_COLOURS = (OKABE_ITO["sky"], OKABE_ITO["green"], OKABE_ITO["vermilion"], "#ffffff")

_FOUND, _MISSED, _ALARM, _WRONG = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Mark:
    """What a colour means; `look` is light, striped, solid or chequered."""

    name: str
    colour: str
    look: str


_MARKS = {
    _FOUND: Mark("found", OKABE_ITO["blue"], "light"),
    _MISSED: Mark("missed (striped)", OKABE_ITO["orange"], "striped"),
    _ALARM: Mark("false alarm (solid)", OKABE_ITO["purple"], "solid"),
    _WRONG: Mark("wrong class (chequered)", _YELLOW, "chequered"),
}


def key_of(classes: int) -> list[Mark]:
    """What the colours mean in a data set of so many classes, background included."""
    if classes == 2:
        return [mark for kind, mark in _MARKS.items() if kind != _WRONG]
    alike: dict[str, list[str]] = {}
    for one in range(1, classes):
        alike.setdefault(_class_colour(one), []).append(str(one))
    truth = (
        Mark(
            f"truth: {'class' if len(ones) == 1 else 'classes'} {', '.join(ones)}", colour, "light"
        )
        for colour, ones in alike.items()
    )
    return [*_MARKS.values(), *truth]


def _class_colour(number: int) -> str:
    return _CLASS_COLOURS[(number - 1) % len(_CLASS_COLOURS)]


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture; `score` is the main score of a prediction, or not a number."""

    pixels: Pixels
    score: float

    def png(self) -> bytes:
        """The picture as a PNG file."""
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, format="PNG")
        return file.getvalue()


@dataclass(frozen=True, slots=True)
class Row:
    """One test image; `place` says where it stands among them all."""

    place: str
    name: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Overlays:
    """Rows of pictures under common titles, and all of them on one sheet.

    Attributes:
        titles: what the columns show.
        rows: the test images.
        classes: number of classes, background included.
        caption: what is seen.
        png: the sheet as a PNG file.
    """

    titles: tuple[str, ...]
    rows: tuple[Row, ...]
    classes: int
    caption: str
    png: bytes


def read_data(folder: Path) -> Dataset | str:
    """The data set of a search, or why there is none."""
    try:
        return Dataset.load_npz(_whole(folder / "data.npz"))
    except FileNotFoundError:
        return "The pictures cannot be drawn because the file data.npz is missing."
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as problem:
        return f"The pictures cannot be drawn because data.npz cannot be read: {problem}."


def overlays(finished: Finished, data: Dataset | str) -> Overlays | str:
    """The best, the median and the worst test image by the winner's main score, or why not."""
    score, winner = finished.main, finished.winner
    if winner is None or score.name not in winner.test:
        return "The final trainings are not there yet, so no test image has been predicted."
    losses = [finished.best_final(plain=True), finished.best_final(plain=False)]
    shown = [one for one in losses if one is not None]
    if isinstance(data, str):
        return data
    try:
        predictions = [_labels(finished, one, data) for one in shown]
    except FileNotFoundError as problem:
        name = Path(problem.filename).name
        return f"The pictures cannot be drawn because the file finals/{name} is missing."
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as problem:
        return f"The pictures cannot be drawn because the masks cannot be read: {problem}."
    order = _ranked(winner, finished)
    if not order or max(order) >= len(data.test):
        return "The scores of the single test images are missing, so none can be chosen."
    rows = []
    for place, image in _chosen(order):
        number = data.test[image]
        picture, truth = _stretched(data.pixels(np.array([number]))[0]), data.masks[number]
        panels = [Panel(_enlarged(picture), math.nan), Panel(_truth(picture, truth), math.nan)]
        for final, (labels, _) in zip(shown, predictions, strict=True):
            values = final.test[score.name].per_image if score.name in final.test else ()
            value = values[image] if image < len(values) else math.nan
            panels.append(Panel(_judged(picture, truth, labels[image]), value))
        rows.append(Row(place, readable(data.names[number]), tuple(panels)))
    titles = ("image", "truth", *(_title(one, winner) for one in shown))
    seeds = ", ".join(
        f"{seed} of #{one.trial}" for one, (_, seed) in zip(shown, predictions, strict=True)
    )
    caption = (
        f"Test images by {score.title} of the best loss, mean over its seeds; the masks are those "
        f"of one training each (seed {seeds})."
    )
    return Overlays(
        titles, tuple(rows), data.classes, caption, _sheet(titles, rows, finished, data.classes)
    )


def _title(final: Final, winner: Final) -> str:
    kind = "best plain loss" if final.baseline is not None else "best searched loss"
    return f"{kind}{', the best of all' if final is winner else ''}: {name_of(final)}"


def _labels(finished: Finished, final: Final, data: Dataset) -> tuple[Pixels, int]:
    """Label maps of the first seed that left some, and that seed."""
    paths = [
        finished.folder / "finals" / f"{final.trial:04d}-{seed}.npz" for seed in final.seeds
    ] or [finished.folder / "finals" / f"{final.trial:04d}-0.npz"]
    place = next((place for place, path in enumerate(paths) if path.is_file()), 0)
    with np.load(_whole(paths[place]), allow_pickle=False) as stored:
        labels: Pixels = stored["labels"].astype(np.uint8)
    if labels.shape != data.masks[data.test].shape:
        raise ValueError(f"those in {paths[place].name} do not fit the test images")
    return labels, final.seeds[place] if final.seeds else 0


def _whole(path: Path) -> Path:
    """The path, if NumPy can open the file: it would not close one that was cut short."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{path.name} was cut short or is no .npz file")
    return path


def _ranked(winner: Final, finished: Finished) -> list[int]:
    """Test images that have a score, the best first."""
    values = winner.test[finished.main.name].per_image
    known = [image for image, value in enumerate(values) if math.isfinite(value)]
    return sorted(known, key=lambda image: finished.main.order(values[image]))


def _chosen(order: Sequence[int]) -> list[tuple[str, int]]:
    if len(order) == 1:
        return [("only", order[0])]
    middle = [("median", order[len(order) // 2])] if len(order) > 2 else []
    return [("best", order[0]), *middle, ("worst", order[-1])]


def _stretched(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Three channels, from black to white whatever the range was."""
    shown = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image[..., :3]
    low, high = float(shown.min()), float(shown.max())
    stretched: npt.NDArray[np.float32] = (shown - low) / max(high - low, 1e-6)
    return stretched


def _scale(side: int) -> int:
    return max(1, -(-_SIDE // side))


def _magnified(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    # Pixels stay squares: nothing is seen that was not there.
    scale = _scale(array.shape[0])
    return array.repeat(scale, axis=0).repeat(scale, axis=1)


def _enlarged(image: npt.NDArray[np.float32]) -> Pixels:
    pixels: Pixels = np.rint(255 * _magnified(image)).astype(np.uint8)
    return pixels


def _truth(image: npt.NDArray[np.float32], truth: Pixels) -> Pixels:
    """Every class in its colour; pixels that are left out are darkened."""
    classes = [int(one) for one in np.unique(truth) if one not in (0, IGNORED)]
    looks = {one: Mark("", _class_colour(one), "light") for one in classes}
    return _painted(image, truth, truth, looks)


def _judged(image: npt.NDArray[np.float32], truth: Pixels, labels: Pixels) -> Pixels:
    """Hits, misses, false alarms and confused classes, told apart by pattern as well as colour."""
    kinds = np.zeros_like(truth)
    valid = truth != IGNORED
    kinds[valid & (truth > 0) & (labels == truth)] = _FOUND
    kinds[valid & (truth > 0) & (labels == 0)] = _MISSED
    kinds[valid & (truth == 0) & (labels > 0)] = _ALARM
    kinds[valid & (truth > 0) & (labels > 0) & (labels != truth)] = _WRONG
    return _painted(image, truth, kinds, _MARKS)


def _painted(
    image: npt.NDArray[np.float32],
    truth: Pixels,
    areas: Pixels,
    marks: Mapping[int, Mark],
) -> Pixels:
    """The image with every area filled and outlined."""
    canvas = np.array(_magnified(image), np.float32)
    large = np.array(_magnified(areas), np.uint8)
    canvas[_magnified(truth) == IGNORED] *= 0.35
    row, column = np.indices(large.shape)
    patterns = {"striped": (row + column) % 8 < 4, "chequered": (row // 5 + column // 5) % 2 == 0}
    edges = _edges(large)
    for area, mark in marks.items():
        rgb = np.array([int(mark.colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255.0
        strength = 0.25 if mark.look == "light" else 0.75
        inside = large == area
        filled = inside & patterns.get(mark.look, True)
        canvas[filled] = (1 - strength) * canvas[filled] + strength * rgb
        canvas[inside & edges] = rgb
    pixels: Pixels = np.rint(255 * np.clip(canvas, 0, 1)).astype(np.uint8)
    return pixels


def _edges(areas: Pixels) -> npt.NDArray[np.bool_]:
    """Pixels within two of another area: a line that is still seen at half the size."""
    edges = np.zeros(areas.shape, bool)
    for step in (1, 2):
        for axis in (0, 1):
            ahead, behind = [slice(None)] * 2, [slice(None)] * 2
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            differ = areas[tuple(ahead)] != areas[tuple(behind)]
            edges[tuple(ahead)] |= differ
            edges[tuple(behind)] |= differ
    return edges


def _sheet(titles: Sequence[str], rows: Sequence[Row], finished: Finished, classes: int) -> bytes:
    """All rows on one picture, for those who do not read the page."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(rows), len(titles), squeeze=False)
        for row, entry in enumerate(rows):
            for axes, title, panel in zip(panels[row], titles, entry.panels, strict=True):
                axes.imshow(panel.pixels, interpolation="antialiased")
                axes.set(xticks=(), yticks=())
                if row == 0:
                    axes.set_title(wrapped(title, 30, 5), fontsize=8)
                if math.isfinite(panel.score):
                    axes.set_xlabel(f"{finished.main.title} {finished.main.written(panel.score)}")
            panels[row, 0].set_ylabel(wrapped(f"{entry.place}: {entry.name}", 30, 3), fontsize=8)
        from matplotlib.patches import Patch

        key = key_of(classes)
        patches = [Patch(color=one.colour) for one in key]
        figure.legend(patches, [one.name for one in key], loc="outside lower center", ncols=4)

    size = (2.5 * len(titles), 2.75 * len(rows) + 0.9)
    return sheet(draw, size=size)
