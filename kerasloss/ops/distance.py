"""Exact Euclidean distance transform, in the graph of every backend."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from kerasloss import _check
from kerasloss.ops._distance_host import NARROW_FAR, NARROW_SHIFTS, squared_distance
from kerasloss.ops.pixels import Tensor
from kerasloss.ops.placement import host_array, on_accelerator

# Shifts tried in one turn of the loop: fewer turns, less overhead.
_UNROLL = 8
# On a CPU the image is searched tile by tile: a tile with its neighbours fits in the first-level
# cache, and stops as soon as its own pixels are done.
_TILE = (32, 256)


def distance_transform(mask: Tensor, spacing: Any = None) -> Tensor:
    """Distance of every pixel of a mask to the nearest pixel outside it.

    Exact, as `scipy.ndimage.distance_transform_edt` on each image. It runs inside `jit` and
    `tf.function` on the device that holds the mask (for PyTorch on a CPU, in NumPy on its memory);
    no gradient flows through it. Time grows with the largest distance, memory is a small multiple
    of the mask.

    Args:
        mask: shape `(batch, *space)` with one to three space axes; non-zero is inside.
        spacing: distance between neighbouring pixels, one number > 0 a space axis (or one for all),
            in the unit that the result shall have; None for pixels.

    Returns:
        float32 tensor of the same shape: 0 outside the mask, and 0 everywhere in an image that
        has no pixel outside (SciPy leaves that case undefined).

    Raises:
        ValueError: if `mask` has a rank other than 2 to 4, or `spacing` does not fit it.

    Example:

    >>> mask = np.array([[0, 1, 1, 1, 0, 1]])
    >>> print(np.asarray(kerasloss.ops.distance_transform(mask)))
    [[0. 1. 2. 1. 0. 1.]]
    >>> print(np.asarray(kerasloss.ops.distance_transform(mask, spacing=[0.5])))
    [[0.  0.5 1.  0.5 0.  0.5]]
    """
    mask = ops.convert_to_tensor(mask)
    if not 2 <= len(mask.shape) <= 4:
        raise _check.error(
            "distance_transform",
            "`mask` of shape (batch, *space) with one to three space axes",
            f"shape {tuple(mask.shape)}",
        )
    sizes = tuple(mask.shape)[1:]
    if any(size is None for size in sizes):
        raise _check.error(
            "distance_transform",
            "space axes of known size",
            f"shape {tuple(mask.shape)}",
            "Give the data set or the model's input a fixed height and width.",
        )
    steps = steps_of(spacing, len(sizes))
    # In units of the largest step, squares of metres or light years stay within float32.
    unit = max(steps)
    steps = tuple(step / unit for step in steps)
    far = 1.0 + squared_diagonal(sizes, steps)
    inside = ops.cast(ops.stop_gradient(mask), "bool")
    known = host_array(inside)
    if known is None:
        square = _in_graph(inside, steps, far)
    else:
        square = ops.convert_to_tensor(squared_distance(known, steps, far), dtype="float32")
    distance = ops.where(square >= far, 0.0, ops.sqrt(square))
    return distance if unit == 1.0 else distance * unit


def steps_of(spacing: Any, axes: int) -> tuple[float, ...]:
    """Distance between neighbours along each of the space axes."""
    _check.spacing("distance_transform", spacing, axes)
    if spacing is None:
        return (1.0,) * axes
    given = [spacing] * axes if isinstance(spacing, (int, float, np.number)) else spacing
    return tuple(float(step) for step in given)


def squared_diagonal(sizes: tuple[int, ...], steps: tuple[float, ...]) -> float:
    """Square of the diagonal of the image: no two of its pixels are farther apart."""
    return sum((size * step) ** 2 for size, step in zip(sizes, steps, strict=True))


def _in_graph(inside: Tensor, steps: tuple[float, ...], far: float) -> Tensor:
    """Squared distance to the nearest pixel outside, or `far`; axis after axis."""
    sizes = tuple(inside.shape)[1:]
    whole = all(step == 1.0 for step in steps)
    square = ops.reshape(
        _on_lines(ops.reshape(inside, (-1, sizes[-1])), steps[-1], far), (-1, *sizes)
    )
    for axis in range(len(sizes) - 2, -1, -1):
        planes = ops.reshape(square, (-1, sizes[axis], math.prod(sizes[axis + 1 :])))
        square = ops.reshape(_lower_envelope(planes, steps[axis], far, whole), (-1, *sizes))
    return square


def _on_lines(inside: Tensor, step: float, far: float) -> Tensor:
    """Squared distance to the nearest outside pixel on the same line `(lines, size)`, or `far`."""
    size = inside.shape[-1]
    # Row i of this tensor is pixel i of all lines: what treats whole rows is fast.
    rows = ops.transpose(inside)
    counts = _count_by_doubling(rows) if on_accelerator() else _count_row_by_row(rows)
    pixels = ops.cast(ops.transpose(counts), "float32")
    return ops.where(pixels >= size, far, ops.square(pixels * step))


def _count_row_by_row(inside: Tensor) -> Tensor:
    """Number of rows to the nearest one outside along axis 0, `size` or more without one."""
    size = inside.shape[0]
    dtype = "uint16" if size < 2**15 else "float32"
    start = ops.full_like(inside[0], size, dtype=dtype)
    one = ops.ones((), dtype=dtype)

    def forth(before: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        count = (before + one) * row
        return count, count

    def back(after: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        count = ops.minimum(count, after + one)
        return count, count

    _, counts = ops.scan(forth, start, ops.cast(inside, dtype))
    _, counts = ops.scan(back, start, counts, reverse=True)
    return counts


def _count_by_doubling(inside: Tensor) -> Tensor:
    """The same in few operations on the whole tensor, for which an accelerator is made."""
    size = inside.shape[0]
    counts = ops.where(inside, float(size), 0.0)
    reach = 1
    while reach < size:
        before = ops.pad(counts[:-reach], ((reach, 0), (0, 0)), constant_values=size)
        after = ops.pad(counts[reach:], ((0, reach), (0, 0)), constant_values=size)
        counts = ops.minimum(counts, ops.minimum(before, after) + float(reach))
        reach *= 2
    return counts


def _lower_envelope(square: Tensor, step: float, far: float, whole: bool) -> Tensor:
    """Minimum over all shifts d of `square(i + d) + (step * d)²` along axis 1 of three axes."""
    size, width = square.shape[1:]
    if on_accelerator():
        # Many small loops would leave it idle: one for the whole batch.
        outside = ops.full_like(square, far)
        padded = ops.concatenate([outside, square, outside], axis=1)
        return _search(padded, square, (0, 0, 0), step, 1, size)

    counts = [-(-length // tile) for length, tile in zip((size, width), _TILE, strict=True)]
    rows, columns = (
        -(-length // count) for length, count in zip((size, width), counts, strict=True)
    )
    below, right = counts[0] * rows - size, counts[1] * columns - width
    # Pixels that are there only to fill a tile are 0, so that nothing is searched for them.
    start = ops.pad(square, ((0, 0), (0, below), (0, right)))
    padded = ops.pad(square, ((0, 0), (rows, rows + below), (0, right)), constant_values=far)
    if whole:
        narrow_start, narrow_padded = _narrow(start), _narrow(padded)

    def tile(index: Tensor) -> Tensor:
        image, place = index // (counts[0] * counts[1]), index % (counts[0] * counts[1])
        corner = (image, place // counts[1] * rows, place % counts[1] * columns)

        def cut_out(values: Tensor) -> Tensor:
            return ops.slice(values, _int32(corner), (1, rows, columns))

        best, first = cut_out(start), 1
        if whole:
            narrow = cut_out(narrow_start)
            narrow = _search(narrow_padded, narrow, corner, step, 1, min(size, NARROW_SHIFTS))
            narrow = ops.cast(narrow, "float32")
            was_cut = narrow >= NARROW_FAR
            best = ops.where(was_cut, best, narrow)
            # A value that was cut may have missed a near shift as well.
            first = ops.where(ops.any(was_cut), 1, NARROW_SHIFTS)
        return _search(padded, best, corner, step, first, size)[0]

    images = ops.shape(square)[0]
    tiles = ops.map(tile, ops.arange(images * counts[0] * counts[1], dtype="int32"))
    tiles = ops.reshape(tiles, (images, *counts, rows, columns))
    joined = ops.transpose(tiles, (0, 1, 3, 2, 4))
    joined = ops.reshape(joined, (images, counts[0] * rows, counts[1] * columns))
    return joined[:, :size, :width]


def _narrow(square: Tensor) -> Tensor:
    return ops.cast(ops.minimum(square, float(NARROW_FAR)), "uint16")


def _search(
    padded: Tensor, best: Tensor, corner: Any, step: float, first: Any, stop: int
) -> Tensor:
    """Tries growing shifts until their cost alone exceeds the largest value still held.

    Args:
        padded: the values, with as many rows before and after as `best` has.
        best: the values at the shift 0.
        corner: where `best` lies in the image without padding.
        step: distance between two rows.
        first: the shift to begin with.
        stop: the shift to end before. (A few beyond it are tried: all of them padding, or true.)
    """
    shape = ops.shape(best)
    top = corner[1] + best.shape[1]
    last = padded.shape[1] - best.shape[1]

    def at(shift: Tensor) -> Tensor:
        row = ops.clip(top + shift, 0, last)  # all of it padding, before and after the image
        return ops.slice(padded, _int32((corner[0], row, corner[2])), shape)

    def cost(shift: Tensor) -> Tensor:
        return ops.square(ops.cast(shift, "float32") * step)

    def improves(shift: Tensor, best: Tensor) -> Tensor:
        largest = ops.cast(ops.max(best), "float32")
        return ops.logical_and(shift < stop, cost(shift) < largest)

    def turn(shift: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
        for offset in range(_UNROLL):
            nearest = ops.minimum(at(shift + offset), at(-shift - offset))
            best = ops.minimum(best, nearest + ops.cast(cost(shift + offset), best.dtype))
        return shift + _UNROLL, best

    _, best = ops.while_loop(improves, turn, (ops.cast(first, "int32"), best))
    return best


def _int32(values: Any) -> list[Tensor]:
    return [ops.cast(value, "int32") for value in values]
