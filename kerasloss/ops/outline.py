"""Erosion of masks, and the pixels of a mask that touch its outside."""

from __future__ import annotations

import functools

from keras import ops

from kerasloss.ops.pixels import Tensor


def outline(mask: Tensor) -> Tensor:
    """The pixels of a mask with a neighbour outside it, across an edge (4 or 6 neighbours).

    The world beyond the image is outside, as in `scipy.ndimage.binary_erosion`.

    Args:
        mask: boolean, shape `(batch, *space)`.

    Returns:
        Boolean tensor of the same shape.
    """
    axes = range(1, len(mask.shape))
    inner = functools.reduce(ops.logical_and, (_all_within(mask, axis, 1) for axis in axes))
    return ops.logical_and(mask, ops.logical_not(inner))


def erode(mask: Tensor, steps: int) -> Tensor:
    """The pixels of a mask at more than `steps` from its outside, diagonal steps included.

    As many erosions with 3 x 3 (or 3 x 3 x 3) ones. The world beyond the image is outside.

    Args:
        mask: boolean, shape `(batch, *space)`.
        steps: number of erosions, >= 0.

    Returns:
        Boolean tensor of the same shape.
    """
    for axis in range(1, len(mask.shape)):
        mask = _all_within(mask, axis, steps)
    return mask


def _all_within(mask: Tensor, axis: int, reach: int) -> Tensor:
    """Whether all pixels up to `reach` away on the line along an axis are in the mask."""
    padding = [(0, 0)] * len(mask.shape)
    padding[axis] = (reach, reach)
    mask = ops.cast(ops.pad(ops.cast(mask, "int32"), padding), "bool")
    done, whole = 1, 2 * reach + 1
    while done < whole:
        step = min(done, whole - done)
        head, tail = [slice(None)] * len(mask.shape), [slice(None)] * len(mask.shape)
        head[axis], tail[axis] = slice(None, -step), slice(step, None)
        mask = ops.logical_and(mask[tuple(head)], mask[tuple(tail)])
        done += step
    return mask
