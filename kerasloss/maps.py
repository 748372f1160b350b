"""Distance maps of a data set, computed once before training instead of in every step."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from kerasloss import _check
from kerasloss.ops import _distance_host
from kerasloss.ops.distance import squared_diagonal, steps_of
from kerasloss.ops.maps import diagonal

__all__ = ["distance_maps", "with_distance_maps"]

Array = np.ndarray[Any, Any]


def distance_maps(
    masks: Any,
    kind: Literal["signed", "unsigned"] = "signed",
    *,
    classes: int | None = None,
    spacing: Any = None,
    ignore_class: int | None = None,
) -> Array:
    """Distance of every pixel to the boundary of each class, in NumPy, one image after the other.

    Every pixel gets its distance to the nearest pixel on the other side of the boundary. `"signed"`
    leaves it positive outside and turns it into `step - distance` inside (`step` is the smallest
    spacing), so that the outermost pixels of an object are at 0 and deeper ones below. In an image
    without the class, or full of it, the distance is the diagonal of the image.

    Args:
        masks: one-hot or soft targets `(images, *space, classes)`, or one mask `(..., 1)`; with
            `classes` integer labels `(images, *space)` or `(images, *space, 1)`.
        kind: `"signed"` or `"unsigned"`.
        classes: number of channels of the model for integer labels, 1 for a sigmoid channel.
        spacing: distance between neighbouring pixels, one number > 0 a space axis or one for all.
        ignore_class: label whose pixels belong to no class.

    Returns:
        float32 array of shape `(images, *space, classes)`, in pixels or in the unit of `spacing`.

    Example:

    >>> print(kerasloss.distance_maps(np.array([[0, 1, 1, 1, 0, 0]]), classes=1)[0, :, 0])
    [ 1.  0. -1.  0.  1.  2.]
    """
    _check.choice("distance_maps", "kind", kind, ("signed", "unsigned"))
    target, count = _target("distance_maps", masks, classes, ignore_class)
    maps = np.empty((*target.shape[:-1], count), np.float32)
    for number, image in enumerate(target):
        for channel in range(count):
            if image.shape[-1] == count:  # one-hot, or the mask of a sigmoid channel
                belongs = image[..., channel] > 0.5
            else:
                belongs = image[..., 0] == channel
            if ignore_class is not None:
                belongs = belongs & ~_ignored(image, ignore_class)
            distance = _boundary_distance(belongs, spacing)
            if kind == "signed":
                step = np.float32(min(steps_of(spacing, distance.ndim)))
                distance = np.where(belongs, step - distance, distance)
            maps[number, ..., channel] = distance
    return maps


def with_distance_maps(
    y_true: Any,
    *,
    classes: int | None = None,
    spacing: Any = None,
    ignore_class: int | None = None,
) -> Array:
    """A target with its signed distance maps behind it, for losses with `precomputed=True`.

    The losses then compute no distances of the target while the model trains. `Boundary`,
    `DistanceMap` and `Hausdorff` take the same maps; inside a `Compound` the other losses see the
    target alone.

    Args:
        y_true: as `masks` in `distance_maps`.
        classes: number of channels of the model for integer labels, 1 for a sigmoid channel.
        spacing: as in the loss.
        ignore_class: as in the loss.

    Returns:
        float32 array: the target as it came (one-hot, or one channel of labels), then a map for
        each class, `(images, *space, classes + classes)` or `(images, *space, 1 + classes)`.

    Example:

    >>> y_true = np.array([[0, 1, 1, 0]])
    >>> y_pred = np.array([[[0.2], [0.9], [0.6], [0.1]]])
    >>> y_map = kerasloss.with_distance_maps(y_true, classes=1)
    >>> y_map.shape
    (1, 4, 2)
    >>> round(float(kerasloss.Boundary(precomputed=True)(y_map, y_pred)), 4)
    0.075
    >>> round(float(kerasloss.Boundary()(y_true, y_pred)), 4)
    0.075
    """
    target, _ = _target("with_distance_maps", y_true, classes, ignore_class)
    maps = distance_maps(y_true, classes=classes, spacing=spacing, ignore_class=ignore_class)
    return np.concatenate([target.astype(np.float32), maps], axis=-1)


def _target(
    owner: str, masks: Any, classes: int | None, ignore_class: int | None
) -> tuple[Array, int]:
    """The target with a last axis, and the number of classes."""
    _check.ignore_class(owner, ignore_class)
    target = np.asarray(masks)
    if classes is None:
        if not 3 <= target.ndim <= 5:
            raise _check.error(
                owner,
                "one-hot masks of shape (images, *space, classes)",
                f"shape {target.shape}",
                "Give `classes` for integer labels.",
            )
        return target, target.shape[-1]
    _check.number(owner, "classes", classes, minimum=1)
    if 2 <= target.ndim <= 4 and target.shape[-1:] != (1,):
        return target[..., None], int(classes)
    if 3 <= target.ndim <= 5 and target.shape[-1] == 1:
        return target, int(classes)
    raise _check.error(
        owner, "labels of shape (images, *space) or (images, *space, 1)", f"shape {target.shape}"
    )


def _ignored(image: Array, ignore_class: int) -> Any:
    if image.shape[-1] == 1:
        return image[..., 0] == ignore_class
    if not 0 <= ignore_class < image.shape[-1]:
        raise _check.error(
            "distance_maps",
            f"`ignore_class` between 0 and {image.shape[-1] - 1} for one-hot targets",
            f"ignore_class={ignore_class}",
        )
    return image[..., ignore_class] > 0.5


def _boundary_distance(inside: Array, spacing: Any) -> Array:
    """As `kerasloss.ops.maps.boundary_distance`, for one class of one image, without a backend."""
    steps = steps_of(spacing, inside.ndim)
    unit = max(steps)
    steps = tuple(step / unit for step in steps)
    far = 1.0 + squared_diagonal(inside.shape, steps)
    if inside.all() or not inside.any():
        return np.full(inside.shape, diagonal(inside.shape, spacing), np.float32)
    both = _distance_host.squared_distance(np.stack([inside, ~inside]), steps, far)
    return np.asarray(np.sqrt(both.sum(axis=0)) * np.float32(unit))
