"""How smooth the boundary of a mask is."""

from __future__ import annotations

from keras import ops

from kerasloss.ops.pixels import Tensor


def gradient_magnitude(mask: Tensor) -> Tensor:
    """Length of the gradient of a mask, in 1/pixel.

    Central differences, one-sided at the border of the image, as in `numpy.gradient`.

    Args:
        mask: shape `(batch, *space, 1)`, a float dtype.

    Returns:
        Tensor of the same shape. An axis of length 1 contributes nothing.
    """
    square = ops.zeros_like(mask)
    for axis in range(1, len(mask.shape) - 1):
        if mask.shape[axis] == 1:
            continue
        first, second = _take(mask, axis, 0, 1), _take(mask, axis, 1, 2)
        last, before = _take(mask, axis, -1, None), _take(mask, axis, -2, -1)
        inner = (_take(mask, axis, 2, None) - _take(mask, axis, 0, -2)) / 2.0
        slope = ops.concatenate([second - first, inner, last - before], axis=axis)
        square = square + ops.square(slope)
    return ops.sqrt(square)


def _take(tensor: Tensor, axis: int, start: int, stop: int | None) -> Tensor:
    index = [slice(None)] * len(tensor.shape)
    index[axis] = slice(start, stop)
    return tensor[tuple(index)]
