"""Focal losses: cross-entropy that fades where the prediction is right already."""

from __future__ import annotations

from typing import Any, Literal

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, class_factors
from kerasloss.ops.parts import Part, first, pixel_cost, pixel_mean
from kerasloss.ops.pixels import Pixels, Tensor, divide, prepare
from kerasloss.ops.surface import gradient_magnitude

__all__ = ["AdaptiveFocal", "Focal", "adaptive_focal", "focal"]


def check_alpha(owner: str, alpha: Any) -> None:
    """Checks the weight of the foreground: None or a number between 0 and 1."""
    if alpha is not None:
        _check.number(owner, "alpha", alpha, minimum=0.0, maximum=1.0)


def alpha_factors(pixels: Pixels, factors: list[Any] | None, alpha: Any) -> list[Any] | None:
    """The factors of the classes times `alpha`, or `1 - alpha` for class 0."""
    if alpha is None:
        return factors
    alpha = ops.cast(alpha, pixels.dtype)
    factors = factors or [1.0] * pixels.num_classes
    return [(1.0 - alpha) * factors[0], *(alpha * factor for factor in factors[1:])]


def _focal(part: Part, gamma: Any) -> Tensor:
    return -part.fade(gamma) * part.log


def _adaptive_parameters(
    pixels: Pixels, smoothness: Literal["surface", "volume"]
) -> tuple[list[Tensor], Tensor]:
    """Weight of every class and the exponent, read off each target; all `(batch, 1, ..., 1)`."""
    one_an_image = (-1,) + (1,) * (len(pixels.pred.shape) - 1)

    def share(mask: Tensor) -> Tensor:
        return ops.reshape(pixel_mean(pixels, first(mask)), one_an_image)

    if pixels.channels == 1:
        shares = [share(1.0 - pixels.target), share(pixels.target)]
        foreground = pixels.target > 0.5
    else:
        shares = [share(pixels.target[..., c : c + 1]) for c in range(pixels.channels)]
        foreground = ops.any(pixels.target[..., 1:] > 0.5, axis=-1, keepdims=True)
    if pixels.weight is not None:
        foreground = ops.logical_and(foreground, pixels.weight > 0)
    slope = gradient_magnitude(ops.cast(foreground, pixels.dtype))
    roughness = share(slope)
    if smoothness == "surface":
        roughness = divide(roughness, share(ops.cast(slope > 0, pixels.dtype)))
    balance = [(1.0 - part) / (pixels.num_classes - 1) for part in shares]
    return balance, sum(shares[2:], shares[1]) + roughness


def focal(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    gamma: Any = 2.0,
    alpha: Any = None,
    label_smoothing: Any = 0.0,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.Focal`: one value an image, shape `(batch,)`."""
    _check.options("focal", {"gamma": gamma, "label_smoothing": label_smoothing})
    check_alpha("focal", alpha)
    pixels = prepare(
        "focal",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    factors = alpha_factors(pixels, class_factors(pixels, class_weight, "focal"), alpha)
    pixels = pixels.smoothed(label_smoothing)
    return pixel_mean(pixels, pixel_cost(pixels, lambda part: _focal(part, gamma), factors))


def adaptive_focal(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    smoothness: Literal["surface", "volume"] = "surface",
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.AdaptiveFocal`: one value an image, shape `(batch,)`."""
    _check.choice("adaptive_focal", "smoothness", smoothness, ("surface", "volume"))
    pixels = prepare(
        "adaptive_focal",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    factors = class_factors(pixels, class_weight, "adaptive_focal")
    balance, gamma = _adaptive_parameters(pixels, smoothness)
    if factors is not None:
        balance = [factor * part for factor, part in zip(factors, balance, strict=True)]
    return pixel_mean(pixels, pixel_cost(pixels, lambda part: _focal(part, gamma), balance))


@register_keras_serializable("kerasloss")
class Focal(SegmentationLoss):
    """Focal loss: cross-entropy that fades for pixels which are right already.

    Use it when easy background drowns the few hard pixels. `gamma=0` is `CrossEntropy`.

    Formula:

    ```python
    loss = mean over pixels of -sum over classes of a_c * y_c * (1 - p_c) ** gamma * log(p_c)
    ```

    with `a_c = 1`, or `alpha` for the foreground (every class but 0) and `1 - alpha` for class 0.

    Edge cases: finite, with finite gradient, for every gamma >= 0 at p = 0 and p = 1. With
    `label_smoothing` a perfect prediction does not cost 0.

    Args:
        gamma: focusing exponent, >= 0; a number or a scalar `keras.Variable`.
        alpha: weight of the foreground between 0 and 1, or None for no balancing.
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
    >>> round(float(kerasloss.Focal(gamma=2.0)(y_true, y_pred)), 4)
    0.0453

    Reference:
        Lin, Goyal, Girshick, He, Dollar (2017), Focal loss for dense object detection, ICCV.
        https://arxiv.org/abs/1708.02002
    """

    function = staticmethod(focal)
    tunable = ("gamma", "alpha", "label_smoothing")

    def __init__(
        self,
        *,
        gamma: Any = 2.0,
        alpha: Any = None,
        label_smoothing: Any = 0.0,
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        check_alpha("Focal", alpha)
        super().__init__(
            gamma=gamma,
            alpha=alpha,
            label_smoothing=label_smoothing,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


@register_keras_serializable("kerasloss")
class AdaptiveFocal(SegmentationLoss):
    """Adaptive focal loss: balance and focus are read off each target image.

    Use it for small objects of varying size. The rarer class of an image weighs more, and the
    exponent grows with the object's size and with the sharpness of its boundary.

    Formula, per image, with the class shares `r_c` (`r_fg` = every class but 0):

    ```python
    a_c   = 1 - r_c                                  (divided by classes - 1 for three or more)
    gamma = r_fg + mean of |gradient of the foreground mask|
    loss  = mean over pixels of -sum over classes of a_c * y_c * (1 - p_c) ** gamma * log(p_c)
    ```

    The weights are those the paper describes; the authors' code swaps the two channels.

    Edge cases: an image without foreground has `a_bg = 0` and costs 0 for the background, as the
    definition says; combine it with a region loss if such images are common. Always finite.

    Args:
        smoothness: `"surface"` takes the mean gradient over boundary pixels (those whose gradient
            is not 0), `"volume"` over all pixels as the authors' code does, which makes it almost 0
            for small objects.
        from_logits: whether `y_pred` holds logits; otherwise probabilities.
        class_weight: one number >= 0 a class, scaled to a mean of 1 over the classes. For one
            sigmoid channel two numbers (background, foreground).
        ignore_class: label whose pixels count nowhere.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[1, 0, 0, 0]]])
    >>> y_pred = np.array([[[[0.8], [0.4], [0.1], [0.1]]]])
    >>> round(float(kerasloss.AdaptiveFocal(smoothness="volume")(y_true, y_pred)), 4)
    0.0364

    Reference:
        Islam, Hassan, Nazib, Nguyen, Fookes, Islam (2024), Size and smoothness aware adaptive
        focal loss for small tumor segmentation. https://arxiv.org/abs/2407.09828
    """

    function = staticmethod(adaptive_focal)

    def __init__(
        self,
        *,
        smoothness: Literal["surface", "volume"] = "surface",
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check.choice("AdaptiveFocal", "smoothness", smoothness, ("surface", "volume"))
        super().__init__(
            smoothness=smoothness,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
