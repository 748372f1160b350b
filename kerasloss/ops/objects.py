"""Connected objects of a mask, in the graph of every backend."""

from __future__ import annotations

from keras import ops

from kerasloss.ops import _objects_host
from kerasloss.ops.pixels import Tensor
from kerasloss.ops.placement import host_array, on_accelerator

# Steps in one turn of the loop on an accelerator: fewer turns, less overhead.
_UNROLL = 4


def object_size(inside: Tensor, values: Tensor) -> Tensor:
    """Largest of `values` in the connected object (8 or 26 neighbours) that each pixel belongs to.

    Args:
        inside: boolean, shape `(batch, *space)` with one to three space axes.
        values: float tensor of the same shape, >= 0.

    Returns:
        Tensor of the same shape, 0 outside.
    """
    inside, values = ops.stop_gradient(inside), ops.stop_gradient(values)
    mask, known = host_array(inside), host_array(values)
    if mask is not None and known is not None:
        return ops.convert_to_tensor(_objects_host.object_size(mask, known))

    def spread(current: Tensor) -> Tensor:
        return ops.where(inside, _widened(current), 0.0)

    def turn(current: Tensor) -> Tensor:
        if on_accelerator():
            for _ in range(_UNROLL):
                current = spread(current)
            return current
        # One pixel a step is slow where an object is long. A sweep carries its largest value down
        # any path that does not turn back, so a turn of the loop is needed for each turn of a path.
        for axis in range(1, len(inside.shape)):
            current = _swept(inside, current, axis)
        return current

    def grows(current: Tensor) -> Tensor:
        return ops.any(spread(current) > current)

    return ops.while_loop(
        grows, lambda current: (turn(current),), (ops.where(inside, values, 0.0),)
    )[0]


def _swept(inside: Tensor, values: Tensor, axis: int) -> Tensor:
    """Maxima carried along an axis inside the mask, straight or diagonally, forth and back."""
    rows, open_ = ops.moveaxis(values, axis, 0), ops.moveaxis(inside, axis, 0)

    def carry(before: Tensor, row: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        row = ops.where(row[1], ops.maximum(row[0], _widened(before)), 0.0)
        return row, row

    nothing = ops.zeros_like(rows[0])
    _, rows = ops.scan(carry, nothing, (rows, open_))
    _, rows = ops.scan(carry, nothing, (rows, open_), reverse=True)
    return ops.moveaxis(rows, 0, axis)


def _widened(values: Tensor) -> Tensor:
    """Maximum over a pixel and its neighbours in all axes but the first, corners included."""
    for axis in range(1, len(values.shape)):
        size = values.shape[axis]
        first, last = _part(values, axis, 0, 1), _part(values, axis, size - 1, size)
        before = ops.concatenate([first, _part(values, axis, 0, size - 1)], axis=axis)
        after = ops.concatenate([_part(values, axis, 1, size), last], axis=axis)
        values = ops.maximum(values, ops.maximum(before, after))
    return values


def _part(values: Tensor, axis: int, start: int, stop: int) -> Tensor:
    index = [slice(None)] * len(values.shape)
    index[axis] = slice(start, stop)
    return values[tuple(index)]
