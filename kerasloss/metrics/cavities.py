"""Swelling of a material, estimated from the cavities in a micrograph; on the host."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from kerasloss import _check
from kerasloss.metrics.matching import label_objects

__all__ = ["Swelling", "swelling"]

Diameter = Literal["area", "extent"]


class Swelling(NamedTuple):
    """What the cavities of one micrograph amount to.

    Attributes:
        percent: volume of the cavities in % of the volume of the solid.
        number_density: cavities per cubic nanometre (1 nm⁻³ is 1e27 m⁻³).
        diameters_nm: diameter of every cavity, shape `(cavities,)`.
    """

    percent: float
    number_density: float
    diameters_nm: npt.NDArray[np.float64]


def swelling(
    mask: npt.ArrayLike,
    nm_per_px: float,
    thickness_nm: float,
    *,
    diameter: Diameter = "area",
    min_size: int = 0,
    connectivity: int | None = None,
) -> Swelling:
    """Volume swelling of a thin foil from a mask of its cavities (bubbles, voids).

    Use it on target and prediction to see what a segmentation means for the quantity of interest:
    an error of the diameters shows up threefold. Needs SciPy.

    Formula, with image area A, foil thickness t and n cavities taken for spheres:

    ```python
    percent        = 100 * V / (A * t - V),  V = sum of pi / 6 * d**3
    number_density = n / (A * t)
    d = 2 * sqrt(area / pi)             diameter="area"
    d = 2 * sqrt(r_min * r_max)         diameter="extent"
    ```

    `r_min` and `r_max` are the smallest and largest distance from the centroid of a cavity to its
    contour, taken midway between a pixel inside and its neighbour outside.

    Edge cases: a mask without cavities swells by 0 %. A cavity that the border of the image cuts
    counts with what is seen of it.

    Args:
        mask: shape `(height, width)`, non-zero in a cavity.
        nm_per_px: size of a pixel in nanometres.
        thickness_nm: thickness of the foil in nanometres.
        diameter: `"area"`, that of the circle of the same area, or `"extent"`, the geometric mean
            of smallest and largest.
        min_size: cavities with fewer pixels are dropped.
        connectivity: as in `kerasloss.metrics.label_objects`.

    Raises:
        ValueError: if the cavities have more volume than the foil.

    Example:

    >>> mask = np.zeros((100, 100))
    >>> mask[40:50, 60:70] = 1
    >>> result = kerasloss.metrics.swelling(mask, nm_per_px=1.0, thickness_nm=100.0)
    >>> round(result.percent, 4), result.number_density, result.diameters_nm.round(2).tolist()
    (0.0753, 1e-06, [11.28])

    Reference:
        Jacobs, Patki, Lynch, et al. (2023), Materials swelling revealed through automated semantic
        segmentation of cavities in electron microscopy images, Scientific Reports 13, 5178.
    """
    inside = np.asarray(mask) != 0
    if inside.ndim != 2:
        raise _check.error("swelling", "`mask` of shape (height, width)", f"shape {inside.shape}")
    _check.number("swelling", "nm_per_px", nm_per_px, above=0.0)
    _check.number("swelling", "thickness_nm", thickness_nm, above=0.0)
    _check.choice("swelling", "diameter", diameter, ("area", "extent"))
    objects = label_objects(inside, min_size=min_size, connectivity=connectivity)
    areas = np.bincount(objects.ravel())[1:]
    pixels = 2.0 * np.sqrt(areas / np.pi) if diameter == "area" else _extents(objects)
    diameters = nm_per_px * pixels
    cavities = float(np.sum(np.pi / 6.0 * diameters**3))
    foil = inside.size * nm_per_px**2 * thickness_nm
    if cavities >= foil:
        raise _check.error(
            "swelling",
            "cavities with less volume than the foil",
            f"{cavities:.4g} nm³ in {foil:.4g} nm³",
            "Check `nm_per_px` and `thickness_nm`.",
        )
    return Swelling(100.0 * cavities / (foil - cavities), len(areas) / foil, diameters)


def _extents(objects: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Geometric mean of the smallest and the largest diameter of every object, in pixels."""
    count = int(objects.max(initial=0))
    index = np.nonzero(objects)
    owner = objects[index]
    area = np.bincount(owner, minlength=count + 1)[1:]
    centre = np.stack([np.bincount(owner, i, count + 1)[1:] / area for i in index], axis=-1)
    nearest, farthest = np.full(count, np.inf), np.zeros(count)
    padded = np.pad(objects, 1)
    for axis in (0, 1):
        for step in (-1, 1):
            beyond = np.roll(padded, -step, axis)[1:-1, 1:-1]
            points = np.nonzero((objects != 0) & (beyond == 0))
            number = objects[points] - 1
            offset = np.stack(points, axis=-1) - centre[number]
            offset[:, axis] += 0.5 * step
            radius = np.sqrt(np.sum(offset**2, axis=-1))
            np.minimum.at(nearest, number, radius)
            np.maximum.at(farthest, number, radius)
    return 2.0 * np.sqrt(nearest * farthest)
