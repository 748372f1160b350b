"""Bounded losses: no logarithm, so no pixel can cost more than a fixed amount."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, class_factors
from kerasloss.ops.parts import class_average, parts, pixel_mean
from kerasloss.ops.pixels import Tensor, prepare

__all__ = ["Exponential", "exponential"]


def exponential(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    foreground_weight: Any = 0.8,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.Exponential`: one value an image, shape `(batch,)`."""
    _check.options("exponential", {"foreground_weight": foreground_weight})
    pixels = prepare(
        "exponential",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    factors = class_factors(pixels, class_weight, "exponential")
    weight = ops.cast(foreground_weight, pixels.dtype)
    costs = []
    for part in parts(pixels, background=False):
        own = weight * (ops.exp(-part.target * part.probability) - ops.exp(-part.target))
        other = ops.exp((part.target - 1.0) * part.rest) - ops.exp(part.target - 1.0)
        if pixels.channels == 1 and factors is not None:
            own, other = factors[1] * own, factors[0] * other
        costs.append(own + other)
    if pixels.channels == 1:
        return pixel_mean(pixels, costs[0])
    return pixel_mean(pixels, class_average(costs, factors))


@register_keras_serializable("kerasloss")
class Exponential(SegmentationLoss):
    """Exponential loss: bounded, without a logarithm, forgiving of wrong labels.

    Use it on noisy annotations, or as one term among others. Its gradient never exceeds
    `max(1, foreground_weight)` per pixel, so single pixels cannot dominate.

    Formula, with one sigmoid channel, `k = foreground_weight`:

    ```python
    loss = mean over pixels of k * (exp(-y p) - exp(-y)) + exp(-(1-y)(1-p)) - exp(-(1-y))
    ```

    With several channels the same, averaged over the channels. There `k` does not balance two
    classes (the two channels mirror each other): use one sigmoid channel or `class_weight`.
    This is the published loss minus its minimum, so that a perfect prediction costs 0.

    Edge cases: finite everywhere, nothing to guard.

    Args:
        foreground_weight: weight `k` of the pixels of a channel's own class, >= 0; a number or a
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
    >>> round(float(kerasloss.Exponential()(y_true, y_pred)), 4)
    0.123

    Reference:
        Roshan, Tanha, Zarrin, Babaei, Nikkhah, Jafari (2024), A deep ensemble medical image
        segmentation with novel sampling method and loss function, Computers in Biology and
        Medicine 172, 108305.
    """

    function = staticmethod(exponential)
    tunable = ("foreground_weight",)

    def __init__(
        self,
        *,
        foreground_weight: Any = 0.8,
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            foreground_weight=foreground_weight,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
