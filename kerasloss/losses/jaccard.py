"""Losses on the Jaccard index other than `IoU`: with squares, and by its Lovász extension."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, class_factors
from kerasloss.losses.overlap import overlap_loss
from kerasloss.ops.counts import Pool, per_image, pixel_weight
from kerasloss.ops.pixels import Pixels, Tensor, divide, magnitude, prepare

__all__ = ["JaccardDistance", "Lovasz", "jaccard_distance", "lovasz"]


def _errors(pixels: Pixels) -> Tensor:
    """How wrong each pixel is, >= 0, in every channel."""
    if pixels.channels == 1 and pixels.from_logits:
        return ops.relu(1.0 - pixels.pred * (2.0 * pixels.target - 1.0))
    return magnitude(pixels.target - pixels.probability())


def _lovasz_extension(errors: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Lovász extension of the Jaccard loss along the last axis, without that axis.

    Pixel k of the sorted ones costs its error times what it adds to the Jaccard loss of the pixels
    up to it. With I of the target not yet wrong, U in the union, and y of weight w:

        I' / U' - I / U = w (y U' + (1 - y) I') / (U' U)        (a prime: before the pixel)

    Written like this, and not as a difference, it is exactly 0 for weight 0.
    """
    # Ties are kept in their order, which makes the gradient the same on every backend.
    order = ops.argsort(ops.stop_gradient(-errors), axis=-1)
    sorted_errors = ops.take_along_axis(errors, order, axis=-1)
    if weight is None:
        own = ops.take_along_axis(target, order, axis=-1)
        other = 1.0 - own
    else:
        own = ops.take_along_axis(weight * target, order, axis=-1)
        other = ops.take_along_axis(weight * (1.0 - target), order, axis=-1)
    size = ops.sum(own, axis=-1, keepdims=True)
    left_before = size - (ops.cumsum(own, axis=-1) - own)
    union_before = size + (ops.cumsum(other, axis=-1) - other)
    step = divide(own * union_before + other * left_before, union_before * (union_before + other))
    loss = ops.sum(sorted_errors * ops.stop_gradient(step), axis=-1)
    # Without a target the first wrong pixel costs everything, and no other pixel adds to it.
    counted = errors if weight is None else ops.where(weight > 0, errors, 0.0)
    return ops.where(ops.squeeze(size, -1) > 0, loss, ops.max(counted, axis=-1))


def _rows(part: Tensor, pool: Pool) -> Tensor:
    """`(batch, *space, channels)` as `(batch or 1, channels, pixels)`."""
    batch = 1 if pool == "batch" else ops.shape(part)[0]
    return ops.transpose(ops.reshape(part, (batch, -1, int(part.shape[-1]))), (0, 2, 1))


def jaccard_distance(
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
    """Functional twin of `kerasloss.JaccardDistance`: one value an image, shape `(batch,)`."""
    _check.options("jaccard_distance", {"smooth": smooth, "pool": pool})
    pixels = prepare(
        "jaccard_distance",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    return overlap_loss(
        "jaccard_distance",
        pixels,
        pool,
        class_weight,
        alpha=1.0,
        beta=1.0,
        smooth=smooth,
        form="squared",
    )


def lovasz(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    pool: Pool = "image",
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.Lovasz`: one value an image, shape `(batch,)`."""
    _check.options("lovasz", {"pool": pool})
    pixels = prepare(
        "lovasz", y_true, y_pred, sample_weight, from_logits=from_logits, ignore_class=ignore_class
    )
    factors = class_factors(pixels, class_weight, "lovasz")
    errors, target = _rows(_errors(pixels), pool), _rows(pixels.target, pool)
    weight = pixel_weight(pixels, pool)
    if weight is not None:
        weight = _rows(weight, pool)
    losses = _lovasz_extension(errors, target, weight)
    if pixels.channels == 1:
        if factors is not None:
            background = _lovasz_extension(errors, 1.0 - target, weight)
            losses = 0.5 * (factors[0] * background + factors[1] * losses)
        return per_image(ops.squeeze(losses, -1), pixels)
    present = ops.any(target > 0 if weight is None else weight * target > 0, axis=-1)
    share = ops.cast(present, losses.dtype)
    if factors is not None:
        share = share * ops.cast(factors, losses.dtype)
    return per_image(divide(ops.sum(share * losses, axis=-1), ops.sum(share, axis=-1)), pixels)


@register_keras_serializable("kerasloss")
class JaccardDistance(SegmentationLoss):
    """Jaccard distance with squared sums: the intersection over union that needs no re-weighting.

    Use it like `IoU`, of which it is the form with `squared=True`. Pixels that are nearly right
    count less than they do there, and the loss is 0 for `p = y` alone, soft targets included.

    Formula:

    ```python
    loss = mean over classes of
        (1 - (sum(p y) + smooth) / (sum(p ** 2) + sum(y ** 2) - sum(p y) + smooth))
    ```

    Edge cases: as for `Dice`.

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
    >>> round(float(kerasloss.JaccardDistance(smooth=0.0)(y_true, y_pred)), 4)  # 0.4 / 1.8
    0.2222

    Reference:
        Yuan, Chao, Lo (2017), Automatic skin lesion segmentation using deep fully convolutional
        networks with Jaccard distance, IEEE Transactions on Medical Imaging 36(9).
    """

    function = staticmethod(jaccard_distance)
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


@register_keras_serializable("kerasloss")
class Lovasz(SegmentationLoss):
    """Lovász hinge and Lovász softmax: the convex surrogate that is exact for the Jaccard index.

    Use it for the last part of a training that is judged by IoU, or beside `CrossEntropy`: it
    orders the pixels by their error and charges each for the IoU that it loses. It sorts, and so
    costs more time than `IoU`.

    Formula, with the pixels in order of falling error `m`, and the Jaccard loss `J(k)` that marking
    the first `k` of them wrong would give (its gradient is not followed):

    ```python
    loss = mean over classes of sum over k of m_k * (J(k) - J(k - 1))
    m = max(0, 1 - z * (2 y - 1))        one channel of logits z: the hinge
    m = |y - p|                          probabilities, and softmax of several channels
    ```

    One channel of logits is judged by margin and not by probability: there, and only there,
    `from_logits=True` differs from passing the probabilities of the same logits. The hinge goes on
    until every pixel has a margin of 1, and has no upper bound.

    Edge cases: several channels average over the classes that the target has; the false positives
    of an absent class count as misses of others. One channel has no others: there an empty target
    costs its largest error, as published. No counted pixel: 0. A pixel of weight k counts as k
    copies.

    Args:
        pool: as in `Dice`.
        from_logits: whether `y_pred` holds logits; otherwise probabilities.
        class_weight: as in `Dice`.
        ignore_class: as in `Dice`.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[1, 0]]])
    >>> y_pred = np.array([[[[0.8], [0.4]]]])
    >>> round(float(kerasloss.Lovasz()(y_true, y_pred)), 4)  # 0.4 * 1/2 + 0.2 * (1 - 1/2)
    0.3

    Reference:
        Berman, Rannen Triki, Blaschko (2018), The Lovász-Softmax loss, CVPR.
        https://arxiv.org/abs/1705.08790
    """

    function = staticmethod(lovasz)
    margin = True

    def __init__(
        self,
        *,
        pool: Pool = "image",
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            pool=pool,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
