"""Decide what the raw values of masks mean, and bring masks to the working size.

One mask cannot say whether 1 or 255 is foreground, and an empty one says nothing at all.
So every mask is surveyed first, and the decision is made over the whole data set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from kerasloss_search.dataset import IGNORED
from kerasloss_search.images import is_lossy

__all__ = [
    "Depth",
    "Survey",
    "binarise",
    "binary_tops",
    "has_foreground",
    "label_problems",
    "shrink_binary",
    "shrink_labels",
    "survey",
]

Depth = Literal["bit", "byte", "deep"]
"""Masks of one depth share one scale: a 1-bit mask says 1 where an 8-bit mask says 255."""

# More distinct values than a mask can have: a photograph or a probability map.
_MAX_VALUES = 4096
_MAX_MID_GREY = 0.2


@dataclass(frozen=True)
class Survey:
    """Which values one mask holds, pixels to be ignored left out.

    Attributes:
        path: The mask file.
        depth: Scale that the mask shares with the other masks of the same depth.
        values: Distinct values in ascending order.
        counts: Number of pixels of each value.
    """

    path: Path
    depth: Depth
    values: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]

    @property
    def top(self) -> float:
        """The highest value, 0 for a mask without values."""
        return float(self.values[-1]) if self.values.size else 0.0


def survey(
    path: Path, raw: npt.NDArray[np.generic], ignore_value: int | None
) -> tuple[Survey | None, str | None]:
    """Count the values of one mask, or say why it cannot be a mask."""
    depth: Depth = "bit" if raw.dtype == np.bool_ else "byte" if raw.itemsize == 1 else "deep"
    values: npt.NDArray[np.float64]
    if depth == "deep":
        if not np.all(np.isfinite(raw)):
            return None, f"{path}: holds values that are not finite; save the mask as 0 and 255"
        distinct, counts = np.unique(raw, return_counts=True)
        values = distinct.astype(np.float64)
    else:
        histogram = np.bincount(raw.astype(np.uint8).ravel(), minlength=256)
        values = np.flatnonzero(histogram).astype(np.float64)
        counts = histogram[histogram > 0]
    if ignore_value is not None:
        kept = values != ignore_value
        values, counts = values[kept], counts[kept]
    if values.size > _MAX_VALUES:
        return None, f"{path}: holds {values.size} different values, so it is no mask; replace it"
    if values.size and values[0] < 0:
        return None, f"{path}: holds the negative value {values[0]:g}; save the mask as 0 and 255"
    return Survey(path, depth, values, counts.astype(np.int64)), None


def binary_tops(surveys: Sequence[Survey]) -> tuple[dict[Depth, float], list[str]]:
    """Find the value that means full foreground at every depth; half of it is the threshold.

    Never `> 0`: JPEG masks hold values up to 8 where there is nothing, and the grey edges of
    smoothed masks would grow every object.

    Returns:
        The top of the range for each depth in use, and the problems: masks that are not
        two-valued up to noise and smooth edges.
    """
    by_depth: dict[Depth, list[Survey]] = defaultdict(list)
    for one in surveys:
        by_depth[one.depth].append(one)
    tops: dict[Depth, float] = {}
    problems: list[str] = []
    for depth, group in by_depth.items():
        tops[depth], more = _top(depth, group)
        problems += more
    return tops, problems


def _top(depth: Depth, group: list[Survey]) -> tuple[float, list[str]]:
    distinct = _distinct(group)
    highest = float(distinct[-1]) if distinct.size else 0.0
    if highest == 0:
        return 1.0, []
    # JPEG noise in empty masks must not be taken for the range itself.
    noisy = any(is_lossy(one.path) for one in group) or (highest >= 128 and distinct.size > 2)
    top = 255.0 if depth == "byte" and noisy else highest
    labels = _looks_like_labels(group, highest)
    if labels:
        return top, [labels]
    problems = []
    for one in group:
        middle = (one.values > top / 4) & (one.values < 3 * top / 4)
        grey = float(one.counts[middle].sum() / max(1, one.counts.sum()))
        # A JPEG may hold only noise; an exact file with two values means both of them.
        if 0 < one.top < top / 2 and one.values.size <= 2 and not is_lossy(one.path):
            problems.append(
                f"{one.path}: reaches only {one.top:g} where other masks reach {top:g}; save "
                f"all masks with the same foreground value"
            )
        elif grey > _MAX_MID_GREY:
            problems.append(
                f"{one.path}: does not look like a binary mask ({grey:.0%} of it is mid-grey); "
                "save it as 0 and 255; for label masks pass --classes"
            )
    return top, problems


def _looks_like_labels(group: list[Survey], highest: float) -> str | None:
    """One line if the masks of a data set hold class numbers instead of foreground."""
    exact = [one for one in group if not is_lossy(one.path)]
    distinct = _distinct(exact)
    if distinct.size < 3 or np.any(distinct != np.rint(distinct)):
        return None
    first = next(one.path for one in exact if one.values.size > 1 or one.top > 0)
    seen = f"{first} and others: the masks hold the values {_listed(distinct)}"
    if highest < 128:
        return f"{seen}; for label masks pass --classes {int(highest) + 1}, else save 0 and 255"
    # Only values that meet in one mask: masks of different scales are another problem.
    distinct = _distinct([one for one in exact if one.values.size > 2])
    low = distinct[distinct < highest / 2]
    # 0, 1 (, 2 …) and a single high value: class numbers with a value for 'void'.
    if 1 < low.size == distinct.size - 1 and np.array_equal(low, np.arange(low.size)):
        return (
            f"{seen}; leave out the pixels with {highest:g} by --ignore-value {highest:g}, and "
            f"for more than two classes pass --classes {low.size}"
        )
    if distinct.size == 3 and distinct[1] < 3 * highest / 4:
        return f"{seen}; for label masks number them 0, 1, 2 and pass --classes 3"
    return None


def label_problems(surveys: Sequence[Survey], classes: int, ignore_value: int | None) -> list[str]:
    """One line for every label mask with values that are no class number."""
    problems = []
    highest = max((one.top for one in surveys), default=0.0)
    for one in surveys:
        valid = (one.values == np.rint(one.values)) & (one.values < classes)
        if np.all(valid):
            continue
        outside = one.values[~valid]
        cure = f"number the classes 0 to {classes - 1}"
        if is_lossy(one.path):
            cure = "JPEG changes class numbers: save the mask as PNG"
        elif highest == int(highest) and highest < IGNORED:
            cure = f"pass --classes {int(highest) + 1} or {cure}"
        if outside.size == 1 and ignore_value is None:
            cure += f"; to leave these pixels out pass --ignore-value {outside[0]:g}"
        problems.append(f"{one.path}: holds {_listed(outside)}, outside 0 to {classes - 1}; {cure}")
    return problems


def has_foreground(one: Survey, threshold: float) -> bool:
    """Whether a mask holds any value from the threshold upwards."""
    return bool(np.any(one.values >= threshold))


def _distinct(group: list[Survey]) -> npt.NDArray[np.float64]:
    if not group:
        return np.zeros(0)
    return np.unique(np.concatenate([one.values for one in group]))


def _listed(values: npt.NDArray[np.float64]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:8])
    return f"{shown}, …" if values.size > 8 else shown


def shrink_binary(
    raw: npt.NDArray[np.generic], size: int, ignore_value: int | None
) -> npt.NDArray[np.float32]:
    """Average the raw values over the area of each new pixel; NaN where most is ignored.

    Thresholding waits until the range is known. Averaging first keeps the area of objects,
    which taking the nearest pixel does not.
    """
    values = raw.astype(np.float32)
    if ignore_value is None:
        return _area(values, size)
    valid = (values != ignore_value).astype(np.float32)
    weight = _area(valid, size)
    mean = _area(np.where(valid > 0, values, np.float32(0)), size) / np.maximum(weight, 1e-6)
    return np.where(weight < 0.5, np.float32(np.nan), mean).astype(np.float32)


def binarise(means: npt.NDArray[np.float32], top: float) -> npt.NDArray[np.uint8]:
    """Labels 0 and 1 from averaged values, cut at half of the range; `IGNORED` for NaN.

    A pixel that is exactly half covered is foreground, so that a line of one pixel survives
    halving the size.
    """
    # The averages carry rounding errors of float32.
    labels = (means >= np.float32(top * 0.49999)).astype(np.uint8)
    return np.where(np.isnan(means), np.uint8(IGNORED), labels)


def shrink_labels(
    raw: npt.NDArray[np.generic], size: int, ignore_value: int | None
) -> npt.NDArray[np.uint8]:
    """Take the nearest class number for each new pixel; `IGNORED` where it is ignored."""
    # Out-of-range values are reported by `label_problems`; here they only must not warn.
    numbers = np.clip(np.nan_to_num(raw.astype(np.float64)), 0, IGNORED).astype(np.uint8)
    if ignore_value is not None:
        numbers = np.where(raw == ignore_value, np.uint8(IGNORED), numbers)
    shrunk = Image.fromarray(numbers).resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(shrunk)


def _area(values: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    return np.asarray(Image.fromarray(values).resize((size, size), Image.Resampling.BOX))
