"""Exact Euclidean distance transform and the size of objects, in the graph of every backend."""

from __future__ import annotations

from keras import ops

from kerasloss import _check
from kerasloss.ops.pixels import Tensor

# Shifts tried in one turn of the loop: fewer turns, less overhead.
_UNROLL = 4


def distance_transform(mask: Tensor) -> Tensor:
    """Distance of every pixel of a mask to the nearest pixel outside it, in pixels.

    Exact, as `scipy.ndimage.distance_transform_edt` on each image. It runs inside `jit` and
    `tf.function` on the device that holds the mask; no gradient flows through it. Time grows with
    the largest distance in the batch, memory is a small multiple of the mask.

    Args:
        mask: shape `(batch, *space)` with one to three space axes; non-zero is inside.

    Returns:
        float32 tensor of the same shape: 0 outside the mask, and 0 everywhere in an image that
        has no pixel outside (SciPy leaves that case undefined).

    Raises:
        ValueError: if `mask` has a rank other than 2 to 4.

    Example:

    >>> mask = np.array([[0, 1, 1, 1, 0, 1]])
    >>> print(np.asarray(kerasloss.ops.distance_transform(mask)))
    [[0. 1. 2. 1. 0. 1.]]
    """
    inside = ops.stop_gradient(ops.cast(ops.convert_to_tensor(mask), "float32")) != 0
    if not 2 <= len(inside.shape) <= 4:
        raise _check.error(
            "distance_transform",
            "`mask` of shape (batch, *space) with one to three space axes",
            f"shape {tuple(inside.shape)}",
        )
    if any(size is None for size in inside.shape[1:]):
        raise _check.error(
            "distance_transform",
            "space axes of known size",
            f"shape {tuple(inside.shape)}",
            "Give the data set or the model's input a fixed height and width.",
        )
    # Larger than any squared distance in the image.
    far = float(sum(size**2 for size in inside.shape[1:]) + 1)
    square = _along_last_axis(inside, far)
    for axis in range(len(inside.shape) - 2, 0, -1):
        square = ops.moveaxis(_lower_envelope(ops.moveaxis(square, axis, 1), far), 1, axis)
    return ops.where(square >= far, 0.0, ops.sqrt(square))


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


def _along_last_axis(inside: Tensor, far: float) -> Tensor:
    """Squared distance to the nearest outside pixel on the same line, or `far`."""
    size = inside.shape[-1]
    position = ops.arange(size, dtype="float32")
    beyond = far + float(size)
    left = position - _running_max(ops.where(inside, -beyond, position), size, 1)
    right = -position - _running_max(ops.where(inside, -2.0 * beyond, -position), size, -1)
    return ops.minimum(ops.square(ops.minimum(left, right)), far)


def _running_max(values: Tensor, size: int, direction: int) -> Tensor:
    """Running maximum along the last axis from its start (1) or its end (-1), by doubling."""
    reach = 1
    while reach < size:
        values = ops.maximum(values, _shifted(values, len(values.shape) - 1, direction * reach))
        reach *= 2
    return values


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


def _lower_envelope(square: Tensor, far: float) -> Tensor:
    """Minimum over all shifts d of `square(i + d) + d²` along axis 1."""
    shape, size = ops.shape(square), square.shape[1]
    outside = ops.full_like(square, far)
    padded = ops.concatenate([outside, square, outside], axis=1)

    def at(shift: Tensor) -> Tensor:
        start = [ops.cast(s, "int32") for s in [0, size + shift] + [0] * (len(shape) - 2)]
        return ops.slice(padded, start, shape)

    def improves(shift: Tensor, best: Tensor) -> Tensor:
        return ops.logical_and(shift < size, ops.cast(shift, "float32") ** 2 < ops.max(best))

    def step(shift: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
        for offset in range(_UNROLL):
            # Beyond the image the shift stands still: its d² only grows, so it wins nothing.
            reach = ops.minimum(shift + offset, size)
            cost = ops.cast(shift + offset, "float32") ** 2
            best = ops.minimum(best, ops.minimum(at(reach), at(-reach)) + cost)
        return shift + _UNROLL, best

    _, best = ops.while_loop(improves, step, (ops.convert_to_tensor(1, dtype="int32"), square))
    return best
