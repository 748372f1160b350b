"""The distance transform in NumPy: for PyTorch on a CPU, and for data sets before training.

Without a compiler every shift of the graph version is three passes over the whole batch. Here they
are passes over one strip that stays in the cache, and over those of its rows that still improve.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Columns of a strip: a few hundred rows of them fit in the second-level cache.
_STRIP = 256
# Rows and columns that are transposed at a time.
_BLOCK = 64
# Shifts between two looks at which rows still improve.
_TURN = 8
# Whole squared pixels are first searched in uint16, at half the time: up to this shift, with larger
# values cut, so that no sum leaves the range.
NARROW_SHIFTS = 128
NARROW_FAR = 65535 - NARROW_SHIFTS**2


def squared_distance(inside: Array, steps: tuple[float, ...], far: float) -> Array:
    """Squared distance of every pixel to the nearest one outside, or `far`.

    Args:
        inside: boolean, shape `(batch, *space)`.
        steps: distance between neighbours, one number a space axis.
        far: more than any squared distance in the image.

    Returns:
        float32 array of the same shape.
    """
    square = _on_lines(inside, steps[-1], far)
    whole = all(step == 1.0 for step in steps)
    for axis in range(inside.ndim - 2, 0, -1):
        size, width = inside.shape[axis], math.prod(inside.shape[axis + 1 :])
        for plane in square.reshape(-1, size, width):
            for start in range(0, width, _STRIP):
                _lower_envelope(plane[:, start : start + _STRIP], steps[axis - 1], far, whole)
    return square


def _on_lines(inside: Array, step: float, far: float) -> Array:
    """Squared distance along the last axis alone."""
    size = inside.shape[-1]
    # Row i of this array is pixel i of all lines: what treats whole rows is fast.
    rows = _transposed(inside.reshape(-1, size))
    count = rows.astype(np.uint16 if size < 2**15 else np.uint32)
    count[0] *= size
    for row in range(1, size):
        count[row] += count[row - 1]
        count[row] *= rows[row]
    one_more = np.empty_like(count[0])
    for row in range(size - 2, -1, -1):
        np.add(count[row + 1], 1, out=one_more)
        np.minimum(count[row], one_more, out=count[row])
    count = _transposed(count)
    square = count.astype(np.float32)
    square *= np.float32(step)
    np.square(square, out=square)
    square[count >= size] = far
    return square.reshape(inside.shape)


def _transposed(matrix: Array) -> Array:
    """The transpose in memory, block by block: whole columns would miss the cache."""
    result = np.empty(matrix.shape[::-1], matrix.dtype)
    for top in range(0, len(matrix), _BLOCK):
        for left in range(0, matrix.shape[1], _BLOCK):
            bottom, right = top + _BLOCK, left + _BLOCK
            result[left:right, top:bottom] = matrix[top:bottom, left:right].T
    return result


def _lower_envelope(square: Array, step: float, far: float, whole: bool) -> None:
    """Minimum over all shifts d of `square(i + d) + (step * d)²` along axis 0, in place."""
    size = len(square)
    shifts, settled = range(1, size), 0.0
    source = square.copy()
    if whole:
        best = np.minimum(square, np.float32(NARROW_FAR)).astype(np.uint16)
        shifts = range(1, min(size, NARROW_SHIFTS))
        _search(best.copy(), best, step, shifts, NARROW_FAR)
        cut = best == NARROW_FAR
        np.copyto(square, best, where=~cut)
        # Nothing beyond the shifts tried is nearer than this.
        settled = float(shifts.stop**2)
        # A value that was cut may have missed a near shift as well.
        shifts = range(1 if cut.any() else shifts.stop, size)
    _search(source, square, step, shifts, far, settled)


def _search(
    source: Array, best: Array, step: float, shifts: range, far: float, settled: float = 0.0
) -> None:
    """Tries these shifts in turn until their cost alone exceeds the largest value still held.

    Rows without a value above `settled` are left alone.
    """
    size, dtype = len(best), best.dtype
    padded: Array | None = None
    low, high = 0, size
    for start in range(shifts.start, shifts.stop, _TURN):
        open_above = max(settled, (start * step) ** 2)
        improves = np.flatnonzero(best[low:high].max(axis=1) > open_above)
        if not improves.size:
            return
        low, high = low + int(improves[0]), low + int(improves[-1]) + 1
        if padded is None:
            padded = np.full((3 * size, best.shape[1]), far, dtype)
            padded[size : 2 * size] = source
            cost = np.empty(best.shape, dtype)
        now, work = best[low:high], cost[low:high]
        first, last = size + low, size + high
        for d in range(start, min(start + _TURN, shifts.stop)):
            np.minimum(padded[first - d : last - d], padded[first + d : last + d], out=work)
            work += dtype.type((d * step) ** 2)
            np.minimum(now, work, out=now)
