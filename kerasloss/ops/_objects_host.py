"""The size of objects in NumPy, for PyTorch on a CPU; the same sweeps as in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def object_size(inside: Array, values: Array) -> Array:
    """As `kerasloss.ops.objects.object_size`, for arrays."""
    current = np.where(inside, values, 0).astype(values.dtype)
    while (np.where(inside, _widened(current, 1), 0) > current).any():
        for axis in range(1, inside.ndim):
            rows = np.ascontiguousarray(np.moveaxis(current, axis, 0))
            open_ = np.ascontiguousarray(np.moveaxis(inside, axis, 0))
            for order in (range(1, len(rows)), range(len(rows) - 2, -1, -1)):
                back = -1 if order.step > 0 else 1
                for row in order:
                    np.maximum(rows[row], _widened(rows[row + back], 1), out=rows[row])
                    rows[row] *= open_[row]
            current = np.moveaxis(rows, 0, axis)
    return np.ascontiguousarray(current)


def _widened(values: Array, first_axis: int) -> Array:
    """Maximum over a pixel and its neighbours, corners included."""
    for axis in range(first_axis, values.ndim):
        size = values.shape[axis]
        lower = (slice(None),) * axis + (slice(0, size - 1),)
        upper = (slice(None),) * axis + (slice(1, size),)
        wide = values.copy()
        np.maximum(wide[lower], values[upper], out=wide[lower])
        np.maximum(wide[upper], values[lower], out=wide[upper])
        values = wide
    return values
