"""Losses that balance the classes by how rare they are in the targets."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss
from kerasloss.ops.counts import Pool, per_image, soft_counts
from kerasloss.ops.pixels import Tensor, divide, prepare

__all__ = ["CBDice", "cb_dice"]


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
