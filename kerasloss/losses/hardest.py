"""Losses that look at the pixels which are hardest at the moment."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, class_factors
from kerasloss.ops.parts import cross_entropy_cost, first
from kerasloss.ops.pixels import Tensor, divide, prepare
from kerasloss.ops.sums import space_sum

__all__ = ["TopKCrossEntropy", "top_k_cross_entropy"]

# From the largest cost of an image down to less than float32 can tell apart.
_HALVINGS = 32


def _check_fraction(owner: str, fraction: Any) -> None:
    _check.number(owner, "fraction", fraction, above=0.0, maximum=1.0)


def _top_weight(cost: Tensor, weight: Tensor | None, fraction: Any) -> Tensor:
    """What is left of the weights in the most costly `fraction` of their sum.

    Halving an interval finds the lowest cost that belongs to them. Compiled that is several times
    faster than sorting, it treats equal costs alike whatever their order, and it needs no equality,
    which a compiler that computes a cost twice might break.

    Args:
        cost: shape `(batch, 1, *space)`, >= 0.
        weight: the same shape; None for 1.
        fraction: as in `TopKCrossEntropy`.
    """
    axes = tuple(range(1, len(cost.shape)))
    one_an_image = (-1,) + (1,) * len(axes)

    def counted(mask: Tensor) -> Tensor:
        share = ops.cast(mask, cost.dtype)
        return share if weight is None else weight * share

    def total(mask: Tensor) -> Tensor:
        return ops.reshape(space_sum(counted(mask)), one_an_image)

    wanted = ops.cast(fraction, cost.dtype) * total(ops.ones_like(cost))
    high = ops.max(cost, axis=axes, keepdims=True)
    low = ops.full_like(high, -1.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        enough = total(cost > middle) >= wanted
        low, high = ops.where(enough, middle, low), ops.where(enough, high, middle)
    above = cost > high
    last = ops.logical_and(cost > low, ops.logical_not(above))
    share = ops.clip(divide(wanted - total(above), total(last)), 0.0, 1.0)
    return counted(above) + share * counted(last)


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
    cost = cross_entropy_cost(pixels, factors)
    weight = None if pixels.weight is None else first(pixels.weight)
    top = ops.stop_gradient(_top_weight(ops.stop_gradient(cost), weight, fraction))
    return divide(space_sum(top * cost), space_sum(top))[:, 0]


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
            `keras.Variable`. 1 is `CrossEntropy`.
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
