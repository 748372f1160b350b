"""Losses on how prediction and target vary together, for which both classes matter alike."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, class_mean
from kerasloss.ops.counts import Counts, Pool, per_image, pixel_count, soft_counts
from kerasloss.ops.pixels import EPSILON, Tensor, divide, prepare

__all__ = ["MCC", "mcc"]


def _deviation(share: Tensor, rest: Tensor) -> Tensor:
    """Standard deviation of what is 1 for `share` and 0 for `rest` of the pixels, in [0, 1/2].

    0, with gradient 0, below 1e-7: the square root is infinitely steep there.
    """
    variance = share * rest
    varies = variance > EPSILON**2
    return ops.where(varies, ops.sqrt(ops.where(varies, variance, 1.0)), 0.0)


def _one_minus_correlation(counts: Counts, inside: Tensor, smooth: Tensor) -> Tensor:
    """1 - MCC of every class, with `smooth` pixels of either kind that are right already."""
    total = inside + 2.0 * smooth
    # Shares of the pixels: a product of four counts leaves the range of float32.
    false_alarm, miss = divide(counts.false_alarm, total), divide(counts.miss, total)
    hit = divide(counts.hit + smooth, total)
    rejection = divide(inside - counts.hit - counts.false_alarm - counts.miss + smooth, total)
    true_deviation = _deviation(hit + miss, rejection + false_alarm)
    deviation = _deviation(hit + false_alarm, rejection + miss)
    scale = true_deviation * deviation
    varies = scale > 0
    scale = ops.where(varies, scale, 1.0)

    covariance = hit * rejection - false_alarm * miss
    # Where the correlation is high, what the covariance lacks is known without cancellation:
    #   2 (s t - cov) = (s^2 + t^2 - 2 cov) - (s - t)^2 = (FP + FN) - (FP - FN)^2 - (s - t)^2
    #   s^2 - t^2 = (FP - FN) (TP - TN)
    excess = false_alarm - miss
    difference = divide(excess * (hit - rejection), true_deviation + deviation)
    lacking = 0.5 * (false_alarm + miss - ops.square(excess) - ops.square(difference))
    loss = ops.where(2.0 * covariance > scale, lacking / scale, 1.0 - covariance / scale)
    # A constant correlates with nothing, unless it is right.
    wrong = ops.cast(false_alarm + miss > EPSILON, loss.dtype)
    return ops.where(varies, loss, wrong)


def mcc(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    smooth: Any = 1.0,
    pool: Pool = "image",
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.MCC`: one value an image, shape `(batch,)`."""
    _check.options("mcc", {"smooth": smooth, "pool": pool})
    pixels = prepare(
        "mcc", y_true, y_pred, sample_weight, from_logits=from_logits, ignore_class=ignore_class
    )
    counts = soft_counts(pixels, pool, every_class=class_weight is not None)
    smooth = ops.cast(smooth, counts.hit.dtype)
    loss = _one_minus_correlation(counts, pixel_count(pixels, pool), smooth)
    return per_image(class_mean(loss, class_weight, "mcc"), pixels)


@register_keras_serializable("kerasloss")
class MCC(SegmentationLoss):
    """One minus the soft Matthews correlation coefficient of each class.

    Use it when the true negatives shall count, too: unlike `Dice` it does not change when
    foreground and background trade places, and a constant prediction gains nothing.

    Formula, with the soft counts of `Dice`, `TN = sum((1 - p) (1 - y))`, and `smooth` added to `TP`
    and to `TN`:

    ```python
    loss = mean over classes of 1 - (TP TN - FP FN) /
        sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))
    ```

    0 for a perfect prediction, 1 for one that is no better than chance, 2 for the opposite.

    Edge cases: an empty target predicted empty costs 0, and false positives in it up to 1, with a
    gradient that `smooth` controls; a full target likewise. With `smooth=0` and a target or a
    prediction that is constant the loss is 0 if there is no error, else 1, without gradient.

    Args:
        smooth: pixels of either class that are taken to be right already; a number >= 0 or a scalar
            `keras.Variable`.
        pool: as in `Dice`.
        from_logits: as in `Dice`.
        class_weight: as in `Dice`. For one sigmoid channel it changes nothing: both classes have
            the same correlation.
        ignore_class: as in `Dice`.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[[1.0], [1.0], [0.0], [0.0]]]])
    >>> y_pred = np.array([[[[0.8], [0.6], [0.4], [0.2]]]])
    >>> round(float(kerasloss.MCC(smooth=0.0)(y_true, y_pred)), 4)  # TP = TN = 1.4, FP = FN = 0.6
    0.6

    Reference:
        Abhishek, Hamarneh (2021), Matthews correlation coefficient loss for deep convolutional
        networks: application to skin lesion segmentation, ISBI. https://arxiv.org/abs/2010.13454
    """

    function = staticmethod(mcc)
    tunable = ("smooth",)

    def __init__(
        self,
        *,
        smooth: Any = 1.0,
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
