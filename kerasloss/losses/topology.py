"""Topology losses: whether thin structures hang together counts more than how wide they are."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, class_mean
from kerasloss.losses.region import dice
from kerasloss.ops.counts import Pool, per_image
from kerasloss.ops.pixels import EPSILON, Pixels, Tensor, divide, prepare
from kerasloss.ops.skeleton import soft_skeleton

__all__ = ["CLDice", "cl_dice"]


def _check_options(owner: str, alpha: Any, iterations: Any) -> None:
    _check.number(owner, "alpha", alpha, minimum=0.0, maximum=1.0)
    _check.integer(owner, "iterations", iterations, minimum=0)


def _skeleton(masks: Tensor, iterations: int) -> Tensor:
    """Skeleton of every channel of `(batch, *space, channels)`, the channels in the batch."""
    first = ops.moveaxis(masks, -1, 1)
    shape = ops.shape(first)
    lines = soft_skeleton(ops.reshape(first, (-1, *shape[2:])), iterations)
    return ops.moveaxis(ops.reshape(lines, shape), 1, -1)


def _off_line(mask: Tensor, line: Tensor, weight: Tensor, axes: Any, smooth: Tensor) -> Tensor:
    """Share of a centre line that lies outside of a mask; 0 where there is no line."""
    outside = ops.sum(weight * line * (1.0 - mask), axis=axes)
    return divide(outside, ops.sum(weight * line, axis=axes) + smooth)


def _centre_lines(
    pixels: Pixels, iterations: int, smooth: Any, pool: Pool, class_weight: Any
) -> Tensor:
    """1 - clDice of every class, shape `(batch or 1, classes)`."""
    if class_weight is None:
        target, probability = pixels.target, pixels.probability()
    else:
        target, probability = pixels.classes()
    weight = ops.ones_like(target[..., :1]) if pixels.weight is None else pixels.weight
    if pixels.weight is not None:
        counted = ops.cast(weight > 0, pixels.dtype)
        target, probability = counted * target, counted * probability
    if pool == "batch" and pixels.times is not None:
        weight = weight * pixels.times
    axes = (0, *pixels.axes) if pool == "batch" else pixels.axes
    smooth = ops.cast(smooth, pixels.dtype)
    missed = _off_line(probability, _skeleton(target, iterations), weight, axes, smooth)
    invented = _off_line(target, _skeleton(probability, iterations), weight, axes, smooth)
    precision, sensitivity = 1.0 - invented, 1.0 - missed
    both = precision + sensitivity
    # The error over the whole, not 1 - mean: no cancellation where both are close to 1.
    error = (precision * missed + sensitivity * invented) / ops.maximum(both, EPSILON)
    error = ops.where(both > EPSILON, error, 1.0)
    return ops.expand_dims(error, 0) if pool == "batch" else error


def cl_dice(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    alpha: Any = 0.5,
    iterations: int = 10,
    smooth: Any = 1.0,
    pool: Pool = "image",
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.CLDice`: one value an image, shape `(batch,)`."""
    _check_options("cl_dice", alpha, iterations)
    _check.options("cl_dice", {"smooth": smooth, "pool": pool})
    pixels = prepare(
        "cl_dice", y_true, y_pred, sample_weight, from_logits=from_logits, ignore_class=ignore_class
    )
    lines = _centre_lines(pixels, iterations, smooth, pool, class_weight)
    lines = per_image(class_mean(lines, class_weight, "cl_dice"), pixels)
    overlap = dice(
        y_true,
        y_pred,
        sample_weight=sample_weight,
        smooth=smooth,
        pool=pool,
        from_logits=from_logits,
        class_weight=class_weight,
        ignore_class=ignore_class,
    )
    alpha = ops.cast(alpha, pixels.dtype)
    return (1.0 - alpha) * overlap + alpha * lines


@register_keras_serializable("kerasloss")
class CLDice(SegmentationLoss):
    """Centre-line Dice: a Dice loss beside one that asks whether the centre lines are covered.

    Use it for vessels, cracks, roads and membranes, where a gap of one pixel in a thin branch is
    worse than a boundary that is off by one along a thick one.

    Formula, with the soft skeleton `S` (see `kerasloss.ops.soft_skeleton`):

    ```python
    precision   = (sum(S(p) y) + smooth) / (sum(S(p)) + smooth)
    sensitivity = (sum(S(y) p) + smooth) / (sum(S(y)) + smooth)
    clDice      = 2 precision * sensitivity / (precision + sensitivity)
    loss        = mean over classes of (1 - alpha) * Dice + alpha * (1 - clDice)
    ```

    with the loss `Dice` of the same `smooth` and `pool`. With one sigmoid channel it looks at the
    foreground only. With several, `class_weight=[0, 1, ...]` leaves the background out, whose
    centre lines are seldom of interest.

    Edge cases: an ignored pixel, or one of weight 0, is background in prediction and target before
    the skeletons are drawn, so that a rim of ignored pixels bounds an object as the background
    does. A structure that fills the image has no skeleton; neither has one that is wider than
    `2 * iterations + 2` pixels. Without any skeleton that part costs 0, and only the Dice part is
    left.

    Args:
        alpha: share of the centre lines against Dice, between 0 and 1; a number or a scalar
            `keras.Variable`.
        iterations: erosions of the skeleton, an integer >= 0: half the width in pixels of the
            widest structure. Time and memory grow with it.
        smooth: as in `Dice`.
        pool: as in `Dice`; the authors' code pools over the batch.
        from_logits: as in `Dice`.
        class_weight: as in `Dice`.
        ignore_class: as in `Dice`.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[0, 0, 0], [1, 1, 1], [0, 0, 0]]])
    >>> y_pred = np.where(y_true, 0.9, 0.1)[..., None]
    >>> y_pred[0, 1, 1] = 0.2  # a gap
    >>> round(float(kerasloss.CLDice()(y_true, y_pred)), 4)
    0.1926

    Reference:
        Shit, Paetzold, et al. (2021), clDice, a novel topology-preserving loss function for
        tubular structure segmentation, CVPR. https://arxiv.org/abs/2003.07311
    """

    function = staticmethod(cl_dice)
    tunable = ("alpha", "smooth")

    def __init__(
        self,
        *,
        alpha: Any = 0.5,
        iterations: int = 10,
        smooth: Any = 1.0,
        pool: Pool = "image",
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check_options("CLDice", alpha, iterations)
        super().__init__(
            alpha=alpha,
            iterations=iterations,
            smooth=smooth,
            pool=pool,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
