"""Unified Focal loss: a focal cross-entropy and a focal Tversky loss under the same parameters."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, class_factors, class_mean
from kerasloss.ops.parts import first, parts, pixel_mean
from kerasloss.ops.pixels import Pixels, Tensor, divide, prepare
from kerasloss.ops.power import power
from kerasloss.ops.sums import space_sum

__all__ = ["UnifiedFocal", "unified_focal"]


def _check_unified(
    owner: str, symmetric: Any, delta: Any, gamma: Any, weight: Any, smooth: Any
) -> None:
    _check.boolean(owner, "symmetric", symmetric)
    for name, value in (("delta", delta), ("gamma", gamma), ("weight", weight)):
        _check.number(owner, name, value, minimum=0.0, maximum=1.0)
    _check.options(owner, {"smooth": smooth})


def _cross_entropy(
    pixels: Pixels, factors: list[float] | None, symmetric: bool, delta: Tensor, gamma: Any
) -> Tensor:
    """The modified focal loss; shape `(batch,)`."""
    factors = factors or [1.0] * pixels.num_classes
    background, *foreground = parts(pixels, apart=True)
    cost = -(1.0 - delta) * factors[0] * background.target * background.fade(gamma) * background.log
    for part, factor in zip(foreground, factors[1:], strict=True):
        entropy = -delta * factor * part.target * part.log
        cost = cost + (part.fade(gamma) * entropy if symmetric else entropy)
    return pixel_mean(pixels, cost)


def _one_minus_tversky(pixels: Pixels, delta: Tensor, smooth: Tensor) -> Tensor:
    """1 - TI of every class, without the difference: exact near 0; shape `(batch, classes)`."""

    weight = None if pixels.weight is None else first(pixels.weight)

    def total(values: Tensor) -> Tensor:
        return space_sum(values if weight is None else weight * values)

    counts = []
    for part in parts(pixels, background=False):
        both = part.target * part.probability
        # Differences of pixels, not of sums: a power below 1 would magnify what these leave.
        counts.append(
            (total(both), total(part.target - both), total(part.probability - both)),
        )
    if pixels.channels == 1:
        ((hit, miss, false_alarm),) = counts
        rejection = ops.maximum(total(1.0 - first(pixels.target)) - false_alarm, 0.0)
        counts.insert(0, (rejection, false_alarm, miss))
    hit, miss, false_alarm = (ops.concatenate(c, axis=-1) for c in zip(*counts, strict=True))
    error = delta * miss + (1.0 - delta) * false_alarm
    return divide(error, hit + error + smooth)


def unified_focal(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    symmetric: bool = False,
    delta: Any = 0.6,
    gamma: Any = 0.5,
    weight: Any = 0.5,
    smooth: Any = 1e-7,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.UnifiedFocal`: one value an image, shape `(batch,)`."""
    _check_unified("unified_focal", symmetric, delta, gamma, weight, smooth)
    pixels = prepare(
        "unified_focal",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    factors = class_factors(pixels, class_weight, "unified_focal")
    delta, weight, smooth = (ops.cast(value, pixels.dtype) for value in (delta, weight, smooth))
    loss = _one_minus_tversky(pixels, delta, smooth)
    exponent = 1.0 - ops.cast(gamma, pixels.dtype)
    if symmetric:
        loss = power(loss, exponent)
    else:
        loss = ops.concatenate([loss[:, :1], power(loss[:, 1:], exponent)], axis=-1)
    region = class_mean(loss, class_weight, "unified_focal")
    entropy = _cross_entropy(pixels, factors, symmetric, delta, gamma)
    return weight * entropy + (1.0 - weight) * region


@register_keras_serializable("kerasloss")
class UnifiedFocal(SegmentationLoss):
    """Unified Focal loss: cross-entropy plus Tversky, both focused, by three numbers.

    Use it for small objects where `Dice` plus `CrossEntropy` is the usual choice and the balance is
    to be tuned. Class 0 is the background and every other class foreground; one sigmoid channel
    counts as two classes.

    Formula, with the soft counts of `Dice` and K classes:

    ```python
    e_c   = delta * FN_c + (1 - delta) * FP_c
    m_c   = e_c / (TP_c + e_c + smooth)                                 (1 - Tversky index)
    focal = mean over pixels of -delta * sum over foreground classes of y_c * log(p_c)
                                -(1 - delta) * y_0 * (1 - p_0) ** gamma * log(p_0)
    tversky = (m_0 + sum over foreground classes of m_c ** (1 - gamma)) / K
    loss  = weight * focal + (1 - weight) * tversky
    ```

    So the background is eased in the cross-entropy and the foreground pressed in the region part.
    `symmetric=True` does both to every class. With `gamma=0` the two are the same.

    Edge cases: finite, with finite gradient, for every gamma from 0 to 1 at p = 0, p = 1 and a
    perfect index; a perfect prediction costs 0. A class that is absent from an image costs close
    to 1 for any false alarm, with hardly a gradient; raise `smooth` if such images are common.
    `gamma=1` is the limit: there a focused `m_c` is a constant 1 unless it is 0.

    Args:
        symmetric: whether background and foreground are focused alike.
        delta: weight of the foreground in the cross-entropy and of misses against false alarms in
            the region part, 0 to 1.
        gamma: how much easy background fades and hard foreground is enhanced, 0 to 1.
        weight: share of the cross-entropy, 0 to 1; the rest is the region part. (The lambda of the
            paper; in the authors' code it is the share of the region part.)
        smooth: added to the denominator of the region part and to both sides of its index, in
            pixels, >= 0. Like `delta`, `gamma` and `weight` a number or a scalar `keras.Variable`.
        from_logits: whether `y_pred` holds logits; otherwise probabilities.
        class_weight: one number >= 0 a class, scaled to a mean of 1 over the classes, in both
            parts. For one sigmoid channel two numbers (background, foreground).
        ignore_class: label whose pixels count nowhere.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[[1.0], [1.0], [0.0], [0.0]]]])
    >>> y_pred = np.array([[[[0.8], [0.6], [0.4], [0.2]]]])
    >>> round(float(kerasloss.UnifiedFocal()(y_true, y_pred)), 4)
    0.2881

    Reference:
        Yeung, Sala, Schonlieb, Rundo (2022), Unified Focal loss: generalising Dice and cross
        entropy-based losses to handle class imbalanced medical image segmentation, Computerized
        Medical Imaging and Graphics 95, 102026. https://arxiv.org/abs/2102.04525
    """

    function = staticmethod(unified_focal)
    tunable = ("delta", "gamma", "weight", "smooth")

    def __init__(
        self,
        *,
        symmetric: bool = False,
        delta: Any = 0.6,
        gamma: Any = 0.5,
        weight: Any = 0.5,
        smooth: Any = 1e-7,
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check_unified("UnifiedFocal", symmetric, delta, gamma, weight, smooth)
        super().__init__(
            symmetric=symmetric,
            delta=delta,
            gamma=gamma,
            weight=weight,
            smooth=smooth,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
