"""Asymmetric loss: a focal loss with one exponent for positives and another for negatives."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, class_factors
from kerasloss.ops.parts import Part, class_average, parts, pixel_mean
from kerasloss.ops.pixels import EPSILON, Tensor, prepare
from kerasloss.ops.power import clipped_power

__all__ = ["Asymmetric", "asymmetric"]


def _check_asymmetric(owner: str, positive_gamma: Any, negative_gamma: Any, margin: Any) -> None:
    _check.number(owner, "positive_gamma", positive_gamma, minimum=0.0)
    _check.number(owner, "negative_gamma", negative_gamma, minimum=0.0)
    _check.number(owner, "margin", margin, minimum=0.0, maximum=1.0)


def _negative_cost(part: Part, gamma: Any, margin: Any) -> Tensor:
    """`-q ** gamma * log(1 - q)` with `q = max(p - margin, 0)`."""
    # Without a margin the logarithm may be known where 1 - p is lost.
    if _check.is_variable(margin):
        margin = ops.cast(margin, part.target.dtype)
        log_rest = ops.where(margin > 0, _shifted_log(part, margin), part.log_rest)
    else:
        log_rest = _shifted_log(part, margin) if margin > 0 else part.log_rest
    return -clipped_power(ops.maximum(part.probability - margin, 0.0), gamma) * log_rest


def _shifted_log(part: Part, margin: Any) -> Tensor:
    """`log(1 - q)`: 1 - q = (1 - p) + margin, as far as it is below 1."""
    return ops.log(ops.clip(part.rest + margin, EPSILON, 1.0))


def asymmetric(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    positive_gamma: Any = 1.0,
    negative_gamma: Any = 4.0,
    margin: Any = 0.05,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.Asymmetric`: one value an image, shape `(batch,)`."""
    _check_asymmetric("asymmetric", positive_gamma, negative_gamma, margin)
    pixels = prepare(
        "asymmetric",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    factors = class_factors(pixels, class_weight, "asymmetric")
    costs = []
    for part in parts(pixels, background=False):
        positive = -part.target * part.fade(positive_gamma) * part.log
        negative = (1.0 - part.target) * _negative_cost(part, negative_gamma, margin)
        if pixels.channels == 1 and factors is not None:
            positive, negative = factors[1] * positive, factors[0] * negative
        costs.append(positive + negative)
    if pixels.channels == 1:
        return pixel_mean(pixels, costs[0])
    return pixel_mean(pixels, class_average(costs, factors))


@register_keras_serializable("kerasloss")
class Asymmetric(SegmentationLoss):
    """Asymmetric loss: easy negatives fade fast or cost nothing, positives hardly fade.

    Use it when foreground is rare and easy background drowns it, and the false alarms that a
    `Focal` loss strong enough for that would leave are acceptable.

    Formula, with one sigmoid channel and `q = max(p - margin, 0)`:

    ```python
    loss = mean over pixels of -y * (1 - p) ** positive_gamma * log(p)
                               - (1 - y) * q ** negative_gamma * log(1 - q)
    ```

    With several channels each class is such a problem of its own (this class against all others, as
    published for several labels), and the loss is the mean over the channels. There the background
    is a positive like any other: `class_weight=(0, 1, ...)` leaves its channel out.
    It is a mean over the pixels; the authors' code sums, so its learning rates do not carry over.

    Edge cases: finite, with finite gradient, for all exponents >= 0 at p = 0 and p = 1. A false
    alarm costs `-log(margin)` at most. For `margin=0` that is no limit with one channel of logits;
    otherwise `1 - p` below 1e-7 is taken as 1e-7.

    Args:
        positive_gamma: focusing exponent of the pixels of a class, >= 0.
        negative_gamma: focusing exponent of all others, >= 0.
        margin: probability up to which a negative costs nothing, 0 to 1. Like the exponents a
            number or a scalar `keras.Variable`.
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
    >>> round(float(kerasloss.Asymmetric()(y_true, y_pred)), 4)
    0.0255

    Reference:
        Ben-Baruch, Ridnik, Zamir, Noy, Friedman, Protter, Zelnik-Manor (2021), Asymmetric loss for
        multi-label classification, ICCV. https://arxiv.org/abs/2009.14119
    """

    function = staticmethod(asymmetric)
    tunable = ("positive_gamma", "negative_gamma", "margin")

    def __init__(
        self,
        *,
        positive_gamma: Any = 1.0,
        negative_gamma: Any = 4.0,
        margin: Any = 0.05,
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check_asymmetric("Asymmetric", positive_gamma, negative_gamma, margin)
        super().__init__(
            positive_gamma=positive_gamma,
            negative_gamma=negative_gamma,
            margin=margin,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
