"""Losses that balance the classes by how rare they are in the targets."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, scaled
from kerasloss.ops.counts import Pool, per_image, soft_counts
from kerasloss.ops.pixels import Tensor, divide, prepare

__all__ = ["CBDice", "GeneralizedDice", "cb_dice", "generalized_dice"]


def _rarity(positive: Tensor, factors: Tensor) -> Tensor:
    """`1 / positive ** 2` in units of the rarest class that counts; an absent class is as rare.

    In these units no weight overflows, however small a class is.
    """
    counted = ops.logical_and(positive > 0, factors > 0)
    largest = ops.max(positive, axis=-1, keepdims=True)
    rarest = ops.min(ops.where(counted, positive, largest), axis=-1, keepdims=True)
    return ops.square(ops.where(counted, rarest / ops.where(counted, positive, 1.0), 1.0))


def cb_dice(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    smooth: Any = 1e-6,
    pool: Pool = "batch",
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.CBDice`: one value an image, shape `(batch,)`."""
    _check.options("cb_dice", {"smooth": smooth, "pool": pool})
    pixels = prepare(
        "cb_dice", y_true, y_pred, sample_weight, from_logits=from_logits, ignore_class=ignore_class
    )
    hit, false_alarm, miss = soft_counts(pixels, pool, every_class=True)
    positive = hit + miss
    weight = divide(ops.ones_like(positive), positive)
    if class_weight is not None:
        _check.class_weight("cb_dice", class_weight, pixels.num_classes)
        weight = weight * ops.cast([float(entry) for entry in class_weight], weight.dtype)
    weight = divide(weight, ops.sum(weight, axis=-1, keepdims=True))
    error = false_alarm + miss
    loss = divide(error, 2.0 * hit + error + ops.cast(smooth, hit.dtype))
    return per_image(ops.sum(ops.stop_gradient(weight) * loss, axis=-1), pixels)


def generalized_dice(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    smooth: Any = 1e-6,
    pool: Pool = "image",
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.GeneralizedDice`: one value an image, shape `(batch,)`."""
    _check.options("generalized_dice", {"smooth": smooth, "pool": pool})
    pixels = prepare(
        "generalized_dice",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    _check.class_weight("generalized_dice", class_weight, pixels.num_classes)
    hit, false_alarm, miss = soft_counts(pixels, pool, every_class=True)
    factors = ops.cast(scaled(class_weight or [1.0] * pixels.num_classes), hit.dtype)
    weight = ops.stop_gradient(factors * _rarity(hit + miss, factors))
    error = false_alarm + miss
    whole = ops.sum(weight * (2.0 * hit + error), axis=-1) + ops.cast(smooth, hit.dtype)
    return per_image(divide(ops.sum(weight * error, axis=-1), whole), pixels)


@register_keras_serializable("kerasloss")
class CBDice(SegmentationLoss):
    """Class-balanced Dice: a Dice loss in which rare classes weigh more, measured on the targets.

    Use it when classes differ in size by orders of magnitude. One sigmoid channel counts as two
    classes, background and foreground.

    Formula, with the share `r_c` of class c among the counted pixels and the counts of `Dice`:

    ```python
    w_c = (1 / r_c) / sum over present classes of (1 / r_k)
    loss = sum over present classes of w_c * (1 - (2 TP + smooth) / (2 TP + FP + FN + smooth))
    ```

    The counts are soft. (The authors' notebook counts thresholded predictions, which has no
    gradient, and gives an absent class all the weight.)

    Edge cases: an absent class is left out of both sums, so a perfect prediction costs 0; with no
    counted pixel at all the loss is 0.

    Args:
        smooth: as in `Dice`.
        pool: as in `Dice`; pooled over the batch as published by default.
        from_logits: as in `Dice`.
        class_weight: as in `Dice`, on top of the balancing.
        ignore_class: as in `Dice`.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[[1.0], [0.0], [0.0], [0.0]]]])
    >>> y_pred = np.array([[[[0.5], [0.0], [0.0], [0.0]]]])
    >>> round(float(kerasloss.CBDice()(y_true, y_pred)), 4)
    0.2692

    Reference:
        Golnari, Diba (2024), Adaptive real-time multi-loss function optimization using dynamic
        memory fusion framework, Biomedical Signal Processing and Control 111 (2026) 108388.
        https://arxiv.org/abs/2410.19745
    """

    function = staticmethod(cb_dice)
    tunable = ("smooth",)

    def __init__(
        self,
        *,
        smooth: Any = 1e-6,
        pool: Pool = "batch",
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            smooth=smooth,
            pool=pool,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


@register_keras_serializable("kerasloss")
class GeneralizedDice(SegmentationLoss):
    """Generalized Dice: one ratio for all classes, in which rare classes weigh as much as common.

    Use it for several classes of very different size. Unlike a mean over classes, classes share one
    denominator, so that an absent class cannot dominate. One sigmoid channel counts as two classes,
    background and foreground.

    Formula, with the counts of `Dice`:

    ```python
    w_c = 1 / (TP_c + FN_c) ** 2                 (in units of that of the rarest class)
    loss = 1 - (2 sum over classes of w_c TP_c + smooth) /
        (sum over classes of w_c (2 TP_c + FP_c + FN_c) + smooth)
    ```

    Edge cases: an absent class has the weight of the rarest one that is there. So an image of
    background alone costs the share of its false positives, with a gradient that does not fade, and
    a perfect prediction costs 0.

    Args:
        smooth: added to numerator and denominator, in pixels of the rarest class; a number >= 0 or
            a scalar `keras.Variable`.
        pool: as in `Dice`.
        from_logits: as in `Dice`.
        class_weight: one number >= 0 a class, on top of the balancing; 0 leaves a class out. For
            one sigmoid channel two numbers (background, foreground).
        ignore_class: as in `Dice`.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[[1.0], [0.0], [0.0], [0.0]]]])
    >>> y_pred = np.array([[[[0.5], [0.0], [0.0], [0.0]]]])
    >>> round(float(kerasloss.GeneralizedDice()(y_true, y_pred)), 4)  # (.5 + .5/9) / (1.5 + 6.5/9)
    0.25

    Reference:
        Sudre, Li, Vercauteren, Ourselin, Cardoso (2017), Generalised Dice overlap as a deep
        learning loss function for highly unbalanced segmentations, DLMIA.
        https://arxiv.org/abs/1707.03237
    """

    function = staticmethod(generalized_dice)
    tunable = ("smooth",)

    def __init__(
        self,
        *,
        smooth: Any = 1e-6,
        pool: Pool = "image",
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            smooth=smooth,
            pool=pool,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
