"""Soft skeleton: the centre line of a mask or of a probability map, with a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
from keras import ops

from kerasloss import _check
from kerasloss.ops.pixels import Tensor, accumulation_dtype
from kerasloss.ops.placement import host_array


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
            pixels of the widest object. What is wider leaves no trace. Time grows with it, and so
            does the memory of a training step, by 16 bytes for every float32 pixel and iteration.

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
    thin = _erode(image)
    skeleton = ops.relu(image - _dilate(thin))

    def step(image: Tensor, skeleton: Tensor) -> tuple[Tensor, Tensor]:
        thin = _erode(image)
        delta = ops.relu(image - _dilate(thin))
        # Between 0 and 1 no relu is needed: delta * (1 - skeleton) is never negative.
        return thin, skeleton + delta * (1.0 - skeleton)

    return _repeat(step, (thin, skeleton), iterations)[1]


def _repeat(
    step: Callable[..., tuple[Tensor, ...]], state: tuple[Tensor, ...], times: int
) -> tuple[Tensor, ...]:
    """Takes `times` steps in a loop of the graph: XLA needs minutes to compile them one by one."""
    if times == 0:
        return state
    if keras.backend.backend() == "torch" or host_array(state[0]) is not None:
        for _ in range(times):
            state = step(*state)
        return state
    if keras.backend.backend() == "jax":  # where `while_loop` has no gradient
        return tuple(ops.scan(lambda state, _: (step(*state), None), state, length=times)[0])

    def counted(index: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return (index + 1, *step(*state))

    def goes_on(index: Tensor, *state: Tensor) -> Tensor:
        return index < times

    start = ops.convert_to_tensor(0, dtype="int32")
    # The maximum is what XLA needs to know for the gradient.
    return tuple(ops.while_loop(goes_on, counted, (start, *state), maximum_iterations=times)[1:])


def _erode(image: Tensor) -> Tensor:
    """Minimum over each pixel and its two neighbours along every axis (a cross)."""
    result = image
    for axis in range(1, len(image.shape)):
        for neighbour in _neighbours(image, axis, math.inf):
            result = ops.where(neighbour < result, neighbour, result)
    return result


def _dilate(image: Tensor) -> Tensor:
    """Maximum over each pixel and all of its neighbours, corners included (a cube)."""
    for axis in range(1, len(image.shape)):
        result = image
        for neighbour in _neighbours(image, axis, -math.inf):
            result = ops.where(neighbour > result, neighbour, result)
        image = result
    return image


# Two choices above: no pooling, which each backend pads with something else; and no `ops.minimum`,
# as each backend shares the gradient of equal values out differently, and keeps both arguments for
# the backward pass where `where` keeps one byte a pixel.
def _neighbours(image: Tensor, axis: int, outside: float) -> list[Tensor]:
    """For every pixel the one before and the one after along an axis; at the border `outside`."""
    width = [[0, 0] for _ in image.shape]
    width[axis] = [1, 1]
    padded = ops.pad(image, width, constant_values=outside)
    index = [slice(None) for _ in image.shape]
    parts = []
    for part in (slice(None, -2), slice(2, None)):
        index[axis] = part
        parts.append(padded[tuple(index)])
    return parts
