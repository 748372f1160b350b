"""Distance to the boundary of a mask, for the losses that weigh pixels by it."""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from kerasloss import _check
from kerasloss.ops.distance import distance_transform, squared_diagonal, steps_of
from kerasloss.ops.pixels import Tensor


def boundary_distance(inside: Tensor, spacing: Any = None, without: float | None = None) -> Tensor:
    """Distance of every pixel to the nearest one on the other side of the boundary of each class.

    A class without boundary (absent, or everywhere) is as far away as anything in the image can be:
    the distance is the diagonal of the image, so that what is wrong there still has a gradient.

    Args:
        inside: boolean, shape `(batch, *space, classes)`.
        spacing: as in `kerasloss.ops.distance_transform`.
        without: the distance in a class without boundary; None for the diagonal.

    Returns:
        float32 tensor of the same shape.
    """
    *sizes, classes = inside.shape[1:]
    # All classes and both sides as one batch: one loop to compile and to run.
    masks = ops.reshape(ops.moveaxis(inside, -1, 0), (-1, *sizes))
    both = distance_transform(ops.concatenate([masks, ops.logical_not(masks)], axis=0), spacing)
    distance = ops.sum(ops.reshape(both, (2, classes, -1, *sizes)), axis=0)
    distance = ops.moveaxis(distance, 0, -1)
    axes = tuple(range(1, len(sizes) + 1))
    # Without the other side each transform is 0 everywhere, and so is the sum.
    has_boundary = ops.max(distance, axis=axes, keepdims=True) > 0
    if without is None:
        without = diagonal(tuple(sizes), spacing)
    return ops.where(has_boundary, distance, without)


def diagonal(sizes: tuple[int, ...], spacing: Any = None) -> float:
    """Length of the diagonal of the image."""
    return math.sqrt(squared_diagonal(sizes, steps_of(spacing, len(sizes))))


def signed(distance: Tensor, inside: Tensor, spacing: Any = None) -> Tensor:
    """From the distance to the boundary to the signed one: the outermost pixels inside are at 0."""
    step = min(steps_of(spacing, len(inside.shape) - 2))
    return ops.where(inside, step - distance, distance)


def unsigned(signed: Tensor, inside: Tensor, spacing: Any = None) -> Tensor:
    """Undoes `signed`."""
    step = min(steps_of(spacing, len(inside.shape) - 2))
    return ops.where(inside, step - signed, signed)


def split(owner: str, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Takes target and signed maps apart that `kerasloss.with_distance_maps` has joined.

    Returns:
        The target, one-hot or labels `(batch, *space, 1)`, and the maps, of the shape of `y_pred`.
    """
    true, pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    channels = pred.shape[-1]
    counts = sorted({1 + channels, 2 * channels})
    if len(true.shape) != len(pred.shape) or true.shape[-1] not in counts:
        expected = " or ".join(map(str, counts))
        raise _check.error(
            owner,
            f"`y_true` of shape (batch, *space, {expected}): the target (one-hot or labels), "
            f"then one distance map for each of the {channels} channels of `y_pred`",
            f"y_true {tuple(true.shape)}, y_pred {tuple(pred.shape)}",
            "Make it with kerasloss.with_distance_maps, or leave precomputed=False.",
        )
    return true[..., :-channels], true[..., -channels:]
