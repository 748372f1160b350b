"""Losses that look at the pixels which are hardest at the moment."""

from __future__ import annotations

import math
from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, class_factors
from kerasloss.ops.pixels import Tensor, divide, prepare

__all__ = ["TopKCrossEntropy", "top_k_cross_entropy"]


def _check_fraction(owner: str, fraction: Any) -> None:
    _check.number(owner, "fraction", fraction, above=0.0, maximum=1.0)


def _lowest_of_top(cost: Tensor, weight: Tensor | None, fraction: Any) -> Tensor:
    """The lowest cost among the highest that together make up `fraction` of the weight.

    Args:
        cost: shape `(batch, pixels)`, >= 0.
        weight: the same shape; None for 1.
        fraction: of the total weight.

    Returns:
        Tensor of shape `(batch, 1)`.
    """
    if weight is not None:
        order = ops.argsort(-cost, axis=1)
        cost = ops.take_along_axis(cost, order, axis=1)
        total = ops.cumsum(ops.take_along_axis(weight, order, axis=1), axis=1)
        enough = total >= ops.cast(fraction, cost.dtype) * total[:, -1:]
        return ops.max(ops.where(enough, cost, 0.0), axis=1, keepdims=True)
    count = cost.shape[1]
    if count is not None and not _check.is_variable(fraction):
        top, _ = ops.top_k(cost, max(1, math.ceil(fraction * count)), sorted=False)
        return ops.min(top, axis=1, keepdims=True)
    count = ops.cast(ops.shape(cost)[1], cost.dtype)
    below = ops.floor(count - ops.cast(fraction, cost.dtype) * count)
    index = ops.cast(ops.minimum(below, count - 1.0), "int32")
    return ops.expand_dims(ops.take(ops.sort(cost, axis=1), index, axis=1), 1)


def _top_weight(cost: Tensor, weight: Tensor | None, fraction: Any) -> Tensor:
    """How much of every pixel is among the top; shapes as in `_lowest_of_top`."""
    lowest = _lowest_of_top(cost, weight, fraction)
    # Equal costs share what is left, so that no backend's order of sorting shows. The tolerance is
    # for compilers that compute one cost twice and round differently.
    equal = ops.abs(cost - lowest) <= 1e-6 * lowest
    above = ops.logical_and(cost > lowest, ops.logical_not(equal))
    weight = ops.ones_like(cost) if weight is None else weight
    above, equal = (ops.where(mask, weight, 0.0) for mask in (above, equal))
    total, sum_above, sum_equal = (
        ops.sum(part, axis=1, keepdims=True) for part in (weight, above, equal)
    )
    left = ops.cast(fraction, cost.dtype) * total - sum_above
    return above + ops.clip(divide(left, sum_equal), 0.0, 1.0) * equal


def top_k_cross_entropy(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    fraction: Any = 0.1,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.TopKCrossEntropy`: one value an image, shape `(batch,)`."""
    _check_fraction("top_k_cross_entropy", fraction)
    pixels = prepare(
        "top_k_cross_entropy",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    factors = class_factors(pixels, class_weight, "top_k_cross_entropy")
    cost = pixels.per_class(ops.negative, factors)
    flat = (ops.shape(cost)[0], math.prod(cost.shape[1:]) if None not in cost.shape[1:] else -1)
    weight = None if pixels.weight is None else ops.reshape(pixels.weight, flat)
    top = _top_weight(ops.stop_gradient(ops.reshape(cost, flat)), weight, fraction)
    top = ops.reshape(ops.stop_gradient(top), ops.shape(cost))
    return pixels._replace(weight=top).mean(cost)


@register_keras_serializable("kerasloss")
class TopKCrossEntropy(SegmentationLoss):
    """Cross-entropy of the hardest pixels of every image only (online hard example mining).

    Use it when most pixels are easy and plain cross-entropy stops improving. With noisy labels it
    learns the noise: the wrongly labelled pixels are the hardest.

    Formula:

    ```python
    loss = mean of the largest cross_entropy, over `fraction` of the pixels of the image
    ```

    The fraction is one of the total weight of the counted pixels, met exactly: the last pixel
    counts in part, and pixels of equal cost share what is left. A pixel of weight 2 is two pixels.
    Less than one pixel is the hardest pixel alone.

    Edge cases: as for `CrossEntropy`; with no counted pixel at all the loss is 0.

    Args:
        fraction: share of the pixels that counts, above 0 to 1; a number or a scalar
            `keras.Variable`. 1 is `CrossEntropy`; a number is faster than a variable.
        from_logits: whether `y_pred` holds logits; otherwise probabilities.
        class_weight: one number >= 0 a class, scaled to a mean of 1 over the classes; which pixels
            are the hardest is judged with it. For one sigmoid channel two numbers (background,
            foreground).
        ignore_class: label whose pixels count nowhere.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[1, 0]]])
    >>> y_pred = np.array([[[[0.8], [0.4]]]])
    >>> round(float(kerasloss.TopKCrossEntropy(fraction=0.5)(y_true, y_pred)), 4)
    0.5108

    Reference:
        Wu, Shen, van den Hengel (2016), Bridging category-level and instance-level semantic image
        segmentation. https://arxiv.org/abs/1605.06885
    """

    function = staticmethod(top_k_cross_entropy)
    tunable = ("fraction",)

    def __init__(
        self,
        *,
        fraction: Any = 0.1,
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check_fraction("TopKCrossEntropy", fraction)
        super().__init__(
            fraction=fraction,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
