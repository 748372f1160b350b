"""Connected objects of a mask, in the graph of every backend."""

from __future__ import annotations

from keras import ops

from kerasloss.ops.pixels import Tensor

# Steps in one turn of the loop: fewer turns, less overhead.
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

    def spread(current: Tensor) -> Tensor:
        for axis in range(1, len(inside.shape)):
            before, after = _shifted(current, axis, 1), _shifted(current, axis, -1)
            current = ops.maximum(current, ops.maximum(before, after))
        return ops.where(inside, current, 0.0)

    def grows(current: Tensor, previous: Tensor) -> Tensor:
        return ops.any(current > previous)

    def step(current: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        for _ in range(_UNROLL - 1):
            current = spread(current)
        return spread(current), current

    start = ops.where(inside, values, 0.0)
    result, _ = ops.while_loop(grows, step, (start, start - 1.0))
    return result


def _shifted(values: Tensor, axis: int, by: int) -> Tensor:
    """`values` moved along an axis; the edge value fills the gap, which no maximum notices."""
    size = values.shape[axis]
    by = max(-size, min(size, by))
    head = [slice(None)] * len(values.shape)
    edge = list(head)
    head[axis] = slice(0, size - by) if by > 0 else slice(-by, None)
    edge[axis] = slice(0, 1) if by > 0 else slice(size - 1, None)
    fill = ops.repeat(values[tuple(edge)], abs(by), axis=axis)
    parts = [fill, values[tuple(head)]] if by > 0 else [values[tuple(head)], fill]
    return ops.concatenate(parts, axis=axis)
