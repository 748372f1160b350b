"""Another resolution for labels and weights, without a value that was not there before."""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from kerasloss.ops.pixels import Tensor


def nearest(image: Tensor, space: Sequence[int | Tensor]) -> Tensor:
    """Every new pixel takes the value of the old pixel that holds its centre.

    Args:
        image: shape `(batch, *space)` or `(batch, *space, channels)`, any dtype.
        space: the new size of each space axis.

    Returns:
        Tensor of the dtype of `image`. Classes are not mixed: a label stays a label, one-hot stays
        one-hot.
    """
    shape = ops.shape(image)
    for axis, size in enumerate(space, start=1):
        if isinstance(size, int) and size == shape[axis]:
            continue
        centres = 2 * ops.arange(size, dtype="int32") + 1  # in half pixels
        index = (centres * ops.cast(shape[axis], "int32")) // (2 * ops.cast(size, "int32"))
        image = ops.take(image, index, axis=axis)
    return image
