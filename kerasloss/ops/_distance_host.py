"""The distance transform in NumPy: for PyTorch on a CPU, and for data sets before training.

Without a compiler every shift of the graph version is three passes over the whole batch. Here they
are passes over one strip that stays in the cache, and over those of its rows that still improve.
"""

from __future__ import annotations

import numpy as np

# Columns of a strip: a few hundred rows of them fit in the second-level cache.
_STRIP = 256
# Shifts between two looks at which rows still improve.
_TURN = 8


def squared_distance(inside: np.ndarray, steps: tuple[float, ...], far: float) -> np.ndarray:
    """Squared distance of every pixel to the nearest one outside, or `far`.

    Args:
        inside: boolean, shape `(batch, *space)`.
        steps: distance between neighbours, one number a space axis.
        far: more than any squared distance in the image.

    Returns:
        float32 array of the same shape.
    """
    square = _on_lines(inside, steps[-1], far)
    for axis in range(inside.ndim - 2, 0, -1):
        size = inside.shape[axis]
        outer = int(np.prod(inside.shape[:axis]))
        lines = square.reshape(outer, size, -1)
        for line in lines:
            for start in range(0, line.shape[1], _STRIP):
                _lower_envelope(line[:, start : start + _STRIP], steps[axis - 1], far)
    return square


def _on_lines(inside: np.ndarray, step: float, far: float) -> np.ndarray:
    """Squared distance along the last axis alone."""
    size = inside.shape[-1]
    # Rows of this array are pixels at the same place of all lines: whole rows at once are fast.
    count = np.ascontiguousarray(inside.reshape(-1, size).T).astype(np.float32)
    open_end = np.float32(size)
    count[0] *= open_end
    for row in range(1, size):
        count[row] *= count[row - 1] + 1
    count[-1] = np.where(count[-1] > open_end, open_end, count[-1])
    for row in range(size - 2, -1, -1):
        np.minimum(count[row], count[row + 1] + 1, out=count[row])
    square = np.where(count >= open_end, np.float32(far), np.square(count * np.float32(step)))
    return np.ascontiguousarray(square.T).reshape(inside.shape)


def _lower_envelope(square: np.ndarray, step: float, far: float) -> None:
    """Minimum over all shifts d of `square(i + d) + (step * d)²` along axis 0, in place."""
    size, width = square.shape
    padded = np.full((3 * size, width), far, np.float32)
    padded[size : 2 * size] = square
    cost = np.empty_like(square)
    low, high, shift = 0, size, 1
    while shift < size:
        improves = np.flatnonzero(square[low:high].max(axis=1) > (shift * step) ** 2)
        if not improves.size:
            return
        low, high = low + int(improves[0]), low + int(improves[-1]) + 1
        best, work = square[low:high], cost[low:high]
        first, last = size + low, size + high
        for d in range(shift, min(shift + _TURN, size)):
            np.minimum(padded[first - d : last - d], padded[first + d : last + d], out=work)
            work += np.float32((d * step) ** 2)
            np.minimum(best, work, out=best)
        shift += _TURN
