"""Polynomial losses: cross-entropy as a series in `1 - p`, with other coefficients."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, class_factors
from kerasloss.losses.focusing import alpha_factors, check_alpha
from kerasloss.ops.parts import Part, pixel_cost, pixel_mean
from kerasloss.ops.pixels import Tensor, prepare

__all__ = ["Poly", "poly"]


def _check_poly(owner: str, epsilon: Any, gamma: Any, alpha: Any) -> None:
    _check.number(owner, "epsilon", epsilon, minimum=-1.0)
    _check.options(owner, {"gamma": gamma})
    check_alpha(owner, alpha)


def poly(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    epsilon: Any = 1.0,
    gamma: Any = 0.0,
    alpha: Any = None,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.Poly`: one value an image, shape `(batch,)`."""
    _check_poly("poly", epsilon, gamma, alpha)
    pixels = prepare(
        "poly", y_true, y_pred, sample_weight, from_logits=from_logits, ignore_class=ignore_class
    )
    factors = class_factors(pixels, class_weight, "poly")
    epsilon = ops.cast(epsilon, pixels.dtype)

    def entropy(part: Part) -> Tensor:
        return -part.fade(gamma) * part.log

    def first_term(part: Part) -> Tensor:
        return epsilon * part.fade(gamma) * part.rest

    if alpha is None:
        cost = pixel_cost(pixels, lambda part: entropy(part) + first_term(part), factors)
    else:
        cost = pixel_cost(pixels, entropy, alpha_factors(pixels, factors, alpha))
        cost = cost + pixel_cost(pixels, first_term, factors)
    return pixel_mean(pixels, cost)


@register_keras_serializable("kerasloss")
class Poly(SegmentationLoss):
    """Poly-1 loss: cross-entropy, or focal loss, with another weight on its leading term.

    Use it to tune cross-entropy by one number. `log(p)` is a series in the powers of `1 - p`;
    `epsilon` is added to the coefficient of the first, which alone still moves a pixel that is
    almost right. `epsilon=0` is `CrossEntropy`, or `Focal` where `gamma > 0`.

    Formula, with `a_c` as in `Focal`:

    ```python
    cost_c = a_c * (1 - p_c) ** gamma * -log(p_c) + epsilon * (1 - p_c) ** (gamma + 1)
    loss = mean over pixels of sum over classes of y_c * cost_c
    ```

    Edge cases: finite, with finite gradient, for every gamma >= 0 at p = 0 and p = 1. Never
    negative, but with an `alpha` only while `epsilon >= -alpha` and `epsilon >= alpha - 1`.

    Args:
        epsilon: what is added to the leading coefficient, >= -1; a number or a scalar
            `keras.Variable`. The authors find the best between -1 and 8, by task.
        gamma: focusing exponent, >= 0; a number or a scalar `keras.Variable`. 0 is Poly-1 of the
            cross-entropy, 2 that of the usual focal loss.
        alpha: as in `Focal`; as published it does not weigh the added term.
        from_logits: whether `y_pred` holds logits; otherwise probabilities.
        class_weight: one number >= 0 a class, scaled to a mean of 1 over the classes; it weighs
            both terms. For one sigmoid channel two numbers (background, foreground).
        ignore_class: label whose pixels count nowhere.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[1, 0]]])
    >>> y_pred = np.array([[[[0.8], [0.4]]]])
    >>> round(float(kerasloss.Poly(epsilon=1.0)(y_true, y_pred)), 4)
    0.667

    Reference:
        Leng, Tan, Liu, Cubuk, Shi, Cheng, Anguelov (2022), PolyLoss: a polynomial expansion
        perspective of classification loss functions, ICLR. https://arxiv.org/abs/2204.12511
    """

    function = staticmethod(poly)
    tunable = ("epsilon", "gamma", "alpha")

    def __init__(
        self,
        *,
        epsilon: Any = 1.0,
        gamma: Any = 0.0,
        alpha: Any = None,
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check_poly("Poly", epsilon, gamma, alpha)
        super().__init__(
            epsilon=epsilon,
            gamma=gamma,
            alpha=alpha,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
