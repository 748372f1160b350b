"""Soft skeleton: the centre line of a mask or of a probability map, with a gradient."""

from __future__ import annotations

from collections.abc import Callable

from keras import ops

from kerasloss import _check
from kerasloss.ops.pixels import Tensor, accumulation_dtype


def soft_skeleton(image: Tensor, iterations: int = 10) -> Tensor:
    """Soft skeleton of a mask or probability map: what thins out last, with a gradient.

    Of a mask it is one to two pixels wide and lies in the middle of the objects. Use it for
    centre lines of vessels, cracks and roads.

    Formula (Shit et al.), with `erode` the minimum over the neighbours along the axes, `dilate` the
    maximum over all neighbours, and `open(x) = dilate(erode(x))`:

    ```python
    skeleton = relu(x - open(x))
    repeat iterations times:
        x = erode(x)
        delta = relu(x - open(x))
        skeleton = skeleton + relu(delta - skeleton * delta)
    ```

    Beyond the border of the image there is nothing: it neither thins an object that touches it nor
    adds one. Where two neighbours are equal, the gradient goes to one of them, to the same one on
    every backend.

    Args:
        image: values between 0 and 1, shape `(batch, *space)` with one to three space axes; move
            channels into the batch. Integers and booleans are taken as float32.
        iterations: number of erosions after the first look, an integer >= 0: half the width in
            pixels of the widest object. What is wider leaves no trace. Time and the memory of a
            training step grow with it.

    Returns:
        Tensor of the shape of `image`, with values between 0 and 1.

    Raises:
        ValueError: if `image` has a rank other than 2 to 4.

    Example:

    >>> mask = np.array([[0, 1, 1, 1, 1, 1, 0, 1, 0]])
    >>> print(np.asarray(kerasloss.ops.soft_skeleton(mask)))
    [[0. 0. 0. 1. 0. 0. 0. 1. 0.]]

    Reference:
        Shit, Paetzold, et al. (2021), clDice, a novel topology-preserving loss function for
        tubular structure segmentation, CVPR. https://arxiv.org/abs/2003.07311
    """
    _check.integer("soft_skeleton", "iterations", iterations, minimum=0)
    image = ops.convert_to_tensor(image)
    rank = len(image.shape)
    if not 2 <= rank <= 4:
        raise _check.error(
            "soft_skeleton",
            "`image` of shape (batch, *space) with one to three space axes",
            f"shape {tuple(image.shape)}",
            "Move channels into the batch.",
        )
    if "float" not in str(image.dtype):
        image = ops.cast(image, accumulation_dtype(image.dtype))
    axes = range(1, rank)
    thin = _erode(image, axes)
    skeleton = ops.relu(image - _dilate(thin, axes))
    for _ in range(iterations):
        image, thin = thin, _erode(thin, axes)
        delta = ops.relu(image - _dilate(thin, axes))
        # Between 0 and 1 no relu is needed: delta * (1 - skeleton) is never negative.
        skeleton = skeleton + delta * (1.0 - skeleton)
    return skeleton


def _erode(image: Tensor, axes: range) -> Tensor:
    """Minimum over each pixel and its two neighbours along every axis (a cross)."""
    lines = [_of_three(image, axis, _smaller) for axis in axes]
    result = lines[0]
    for line in lines[1:]:
        result = _smaller(result, line)
    return result


def _dilate(image: Tensor, axes: range) -> Tensor:
    """Maximum over each pixel and all of its neighbours, corners included (a cube)."""
    for axis in axes:
        image = _of_three(image, axis, _larger)
    return image


def _of_three(image: Tensor, axis: int, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """What `choose` leaves of each pixel and its two neighbours along one axis.

    The edge is repeated, which no minimum or maximum notices; pooling would pad, and each backend
    with something else.
    """
    ends = [_part(image, axis, slice(0, 1)), image, _part(image, axis, slice(-1, None))]
    padded = ops.concatenate(ends, axis=axis)
    for _ in range(2):
        padded = choose(_part(padded, axis, slice(None, -1)), _part(padded, axis, slice(1, None)))
    return padded


# Not ops.minimum and ops.maximum: those share the gradient of equal values out differently on each
# backend, and hold both arguments for the backward pass where this holds one byte.
def _smaller(one: Tensor, other: Tensor) -> Tensor:
    return ops.where(one < other, one, other)


def _larger(one: Tensor, other: Tensor) -> Tensor:
    return ops.where(one > other, one, other)


def _part(image: Tensor, axis: int, part: slice) -> Tensor:
    index = [slice(None)] * len(image.shape)
    index[axis] = part
    return image[tuple(index)]
