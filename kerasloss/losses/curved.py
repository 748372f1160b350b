"""Overlap losses that go through a curve: how much an error counts depends on how much is left."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss
from kerasloss.losses.overlap import overlap_loss
from kerasloss.ops.counts import Pool
from kerasloss.ops.pixels import EPSILON, Tensor, prepare

__all__ = ["FocalTversky", "LogCoshDice", "focal_tversky", "log_cosh_dice"]


def _power(loss: Tensor, gamma: Any) -> Tensor:
    """`loss ** gamma`, and below EPSILON the straight line to 0: an exponent below 1 is steep."""
    gamma = ops.cast(gamma, loss.dtype)
    small = loss < EPSILON
    slope = ops.exp((gamma - 1.0) * ops.log(ops.cast(EPSILON, loss.dtype)))
    return ops.where(small, slope * loss, ops.power(ops.where(small, 1.0, loss), gamma))


def _log_cosh(loss: Tensor) -> Tensor:
    """`log(cosh(loss))` to full precision near 0; `loss` is at most 1, so nothing overflows."""
    grown = ops.expm1(loss)
    sinh = 0.5 * (grown + grown / (1.0 + grown))  # ops.sinh on JAX leaves float64 for float32
    return 0.5 * ops.log1p(ops.square(sinh))


def focal_tversky(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    alpha: Any = 0.3,
    beta: Any = 0.7,
    gamma: Any = 0.75,
    smooth: Any = 1.0,
    pool: Pool = "image",
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.FocalTversky`: one value an image, shape `(batch,)`."""
    _check.number("focal_tversky", "alpha", alpha, minimum=0.0)
    _check.options("focal_tversky", {"beta": beta, "gamma": gamma, "smooth": smooth, "pool": pool})
    pixels = prepare(
        "focal_tversky",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    return overlap_loss(
        "focal_tversky",
        pixels,
        pool,
        class_weight,
        alpha=alpha,
        beta=beta,
        smooth=smooth,
        curve=lambda loss: _power(loss, gamma),
    )


def log_cosh_dice(
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
    """Functional twin of `kerasloss.LogCoshDice`: one value an image, shape `(batch,)`."""
    _check.options("log_cosh_dice", {"smooth": smooth, "pool": pool})
    pixels = prepare(
        "log_cosh_dice",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    return overlap_loss(
        "log_cosh_dice",
        pixels,
        pool,
        class_weight,
        alpha=0.5,
        beta=0.5,
        smooth=0.5 * smooth,
        curve=_log_cosh,
    )


@register_keras_serializable("kerasloss")
class FocalTversky(SegmentationLoss):
    """Tversky loss of each class, raised to a power: classes that are hard or done weigh otherwise.

    Use it for small objects that `Tversky` finds but outlines badly: with an exponent below 1 the
    gradient grows as the overlap gets better. An exponent above 1 does the reverse and turns to the
    classes that are still far off.

    Formula, with the index `TI` of `Tversky`:

    ```python
    loss = mean over classes of (1 - TI) ** gamma
    ```

    `gamma` is the exponent itself. Abraham and Khan write the exponent as 1 / gamma, and recommend
    their 4/3: that is the `gamma=0.75` here.

    Edge cases: as for `Dice`. Below `1 - TI = 1e-7` the power is replaced by the straight line to
    0, so that the gradient is finite, and not 0, for a perfect overlap.

    Args:
        alpha: weight of false positives, >= 0; a number or a scalar `keras.Variable`.
        beta: weight of false negatives, >= 0; a number or a scalar `keras.Variable`.
        gamma: the exponent, >= 0; a number or a scalar `keras.Variable`. 1 gives `Tversky`.
        smooth: as in `Dice`.
        pool: as in `Dice`.
        from_logits: as in `Dice`.
        class_weight: as in `Dice`.
        ignore_class: as in `Dice`.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[[1.0], [1.0], [0.0], [0.0]]]])
    >>> y_pred = np.array([[[[0.8], [0.6], [0.4], [0.2]]]])
    >>> loss = kerasloss.FocalTversky(alpha=0.0, beta=1.0, gamma=0.5, smooth=0.0)
    >>> round(float(loss(y_true, y_pred)), 4)  # the square root of 0.3
    0.5477

    Reference:
        Abraham, Khan (2019), A novel focal Tversky loss function with improved attention U-Net for
        lesion segmentation, ISBI. https://arxiv.org/abs/1810.07842
    """

    function = staticmethod(focal_tversky)
    tunable = ("alpha", "beta", "gamma", "smooth")

    def __init__(
        self,
        *,
        alpha: Any = 0.3,
        beta: Any = 0.7,
        gamma: Any = 0.75,
        smooth: Any = 1.0,
        pool: Pool = "image",
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check.number("FocalTversky", "alpha", alpha, minimum=0.0)
        super().__init__(
            alpha=alpha,
            beta=beta,
            gamma=gamma,
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
class LogCoshDice(SegmentationLoss):
    """Log-cosh of the Dice loss of each class: quadratic near 0, so that training ends gently.

    Use it when `Dice` keeps jumping about its minimum. Its gradient is that of `Dice` times
    `tanh(1 - D)`, which fades as the overlap gets better.

    Formula, with the coefficient `D` of `Dice`:

    ```python
    loss = mean over classes of log(cosh(1 - D))
    ```

    Edge cases: as for `Dice`; the largest value is `log(cosh(1)) = 0.4338`.

    Args:
        smooth: as in `Dice`.
        pool: as in `Dice`.
        from_logits: as in `Dice`.
        class_weight: as in `Dice`.
        ignore_class: as in `Dice`.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[[1.0], [1.0], [0.0], [0.0]]]])
    >>> y_pred = np.array([[[[0.8], [0.6], [0.4], [0.2]]]])
    >>> round(float(kerasloss.LogCoshDice(smooth=0.0)(y_true, y_pred)), 4)
    0.0443

    Reference:
        Jadon (2020), A survey of loss functions for semantic segmentation, CIBCB.
        https://arxiv.org/abs/2006.14822
    """

    function = staticmethod(log_cosh_dice)
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
