"""Distribution losses: a cost for every pixel, averaged."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, class_factors
from kerasloss.ops.parts import cross_entropy_cost, pixel_mean
from kerasloss.ops.pixels import Tensor, prepare

__all__ = [
    "CrossEntropy",
    "WeightedCrossEntropy",
    "cross_entropy",
    "weighted_cross_entropy",
]


def cross_entropy(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    label_smoothing: Any = 0.0,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.CrossEntropy`: one value an image, shape `(batch,)`."""
    _check.options("cross_entropy", {"label_smoothing": label_smoothing})
    pixels = prepare(
        "cross_entropy",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    factors = class_factors(pixels, class_weight, "cross_entropy")
    pixels = pixels.smoothed(label_smoothing)
    return pixel_mean(pixels, cross_entropy_cost(pixels, factors))


def weighted_cross_entropy(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    positive_weight: Any = 2.0,
    label_smoothing: Any = 0.0,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.WeightedCrossEntropy`: one value an image, shape `(batch,)`."""
    _check.options(
        "weighted_cross_entropy",
        {"positive_weight": positive_weight, "label_smoothing": label_smoothing},
    )
    pixels = prepare(
        "weighted_cross_entropy",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    factors = class_factors(pixels, class_weight, "weighted_cross_entropy")
    weight = ops.cast(positive_weight, pixels.dtype)
    factors = factors or [1.0] * pixels.num_classes
    pixels = pixels.smoothed(label_smoothing)
    return pixel_mean(
        pixels,
        cross_entropy_cost(pixels, [factors[0], *(weight * factor for factor in factors[1:])]),
    )


@register_keras_serializable("kerasloss")
class CrossEntropy(SegmentationLoss):
    """Cross-entropy, binary or categorical by the number of channels.

    The plain baseline. With few foreground pixels it learns slowly to predict any; give
    `class_weight`, or combine it with `Dice`.

    Formula, for the one-hot target `y` and the probability `p` of every class:

    ```python
    loss = mean over pixels of -sum over classes of w_c * y_c * log(p_c)
    ```

    Edge cases: without logits a probability below 1e-7 is taken as 1e-7, so p = 0 costs 16.1;
    with logits there is no such limit. With `label_smoothing` a perfect prediction does not cost 0.

    Args:
        label_smoothing: share `s` of every target that is spread over the K classes, 0 to 1: the
            target becomes `(1 - s) * y + s / K`, with K = 2 for one sigmoid channel. A number or a
            scalar `keras.Variable`.
        from_logits: whether `y_pred` holds logits; otherwise probabilities.
        class_weight: one number >= 0 a class, scaled to a mean of 1 over the classes. For one
            sigmoid channel two numbers (background, foreground).
        ignore_class: label whose pixels count nowhere.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[1, 0]]])
    >>> y_pred = np.array([[[[0.8], [0.4]]]])
    >>> round(float(kerasloss.CrossEntropy()(y_true, y_pred)), 4)
    0.367

    Reference:
        Good (1952), Rational decisions, Journal of the Royal Statistical Society B 14.
    """

    function = staticmethod(cross_entropy)
    tunable = ("label_smoothing",)

    def __init__(
        self,
        *,
        label_smoothing: Any = 0.0,
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            label_smoothing=label_smoothing,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


@register_keras_serializable("kerasloss")
class WeightedCrossEntropy(SegmentationLoss):
    """Cross-entropy in which the pixels of the foreground weigh more.

    Use it as the simplest remedy for few foreground pixels; a weight near the ratio of background
    to foreground favours recall strongly. Every class but class 0 is foreground.

    Formula, with `y_0` the target of the background:

    ```python
    loss = mean over pixels of (1 + (positive_weight - 1) * (1 - y_0)) * cross_entropy
    ```

    (The form that multiplies by `positive_weight * y` alone gives the background no weight at all
    and is minimised by predicting foreground everywhere.)

    Edge cases: as for `CrossEntropy`.

    Args:
        positive_weight: weight of a foreground pixel against a background pixel, > 0; a number or a
            scalar `keras.Variable`.
        label_smoothing: as in `CrossEntropy`.
        from_logits: whether `y_pred` holds logits; otherwise probabilities.
        class_weight: one number >= 0 a class, scaled to a mean of 1 over the classes. For one
            sigmoid channel two numbers (background, foreground).
        ignore_class: label whose pixels count nowhere.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[1, 0]]])
    >>> y_pred = np.array([[[[0.8], [0.4]]]])
    >>> round(float(kerasloss.WeightedCrossEntropy(positive_weight=3.0)(y_true, y_pred)), 4)
    0.5901

    Reference:
        Agarwal, Sawant, et al. (2023), Engineering Applications of Artificial Intelligence 126,
        106747.
    """

    function = staticmethod(weighted_cross_entropy)
    tunable = ("positive_weight", "label_smoothing")

    def __init__(
        self,
        *,
        positive_weight: Any = 2.0,
        label_smoothing: Any = 0.0,
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            positive_weight=positive_weight,
            label_smoothing=label_smoothing,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
