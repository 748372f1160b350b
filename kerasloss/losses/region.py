"""Region losses: one minus an overlap of prediction and target."""

from __future__ import annotations

from typing import Any

from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss
from kerasloss.losses.overlap import count_form, overlap_loss
from kerasloss.ops.counts import Pool
from kerasloss.ops.pixels import Tensor, prepare

__all__ = ["Dice", "IoU", "Tversky", "dice", "iou", "tversky"]


def tversky(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    alpha: Any = 0.3,
    beta: Any = 0.7,
    smooth: Any = 1.0,
    pool: Pool = "image",
    soft_labels: bool = False,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.Tversky`: one value an image, shape `(batch,)`."""
    _check.number("tversky", "alpha", alpha, minimum=0.0)
    _check.options(
        "tversky", {"beta": beta, "smooth": smooth, "pool": pool, "soft_labels": soft_labels}
    )
    pixels = prepare(
        "tversky", y_true, y_pred, sample_weight, from_logits=from_logits, ignore_class=ignore_class
    )
    return overlap_loss(
        "tversky",
        pixels,
        pool,
        class_weight,
        alpha=alpha,
        beta=beta,
        smooth=smooth,
        form=count_form(soft_labels=soft_labels),
    )


def iou(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    smooth: Any = 1.0,
    pool: Pool = "image",
    squared: bool = False,
    soft_labels: bool = False,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.IoU`: one value an image, shape `(batch,)`."""
    _check.options(
        "iou", {"smooth": smooth, "pool": pool, "squared": squared, "soft_labels": soft_labels}
    )
    pixels = prepare(
        "iou", y_true, y_pred, sample_weight, from_logits=from_logits, ignore_class=ignore_class
    )
    return overlap_loss(
        "iou",
        pixels,
        pool,
        class_weight,
        alpha=1.0,
        beta=1.0,
        smooth=smooth,
        form=count_form(squared=squared, soft_labels=soft_labels),
    )


def dice(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    smooth: Any = 1.0,
    pool: Pool = "image",
    squared: bool = False,
    soft_labels: bool = False,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.Dice`: one value an image, shape `(batch,)`."""
    _check.options(
        "dice", {"smooth": smooth, "pool": pool, "squared": squared, "soft_labels": soft_labels}
    )
    pixels = prepare(
        "dice", y_true, y_pred, sample_weight, from_logits=from_logits, ignore_class=ignore_class
    )
    return overlap_loss(
        "dice",
        pixels,
        pool,
        class_weight,
        alpha=0.5,
        beta=0.5,
        smooth=0.5 * smooth,
        form=count_form(squared=squared, soft_labels=soft_labels),
    )


@register_keras_serializable("kerasloss")
class Dice(SegmentationLoss):
    """One minus the soft Dice coefficient of each class: the usual first choice for small objects.

    Use it alone or with `CrossEntropy` when the foreground is a small part of the image. With one
    sigmoid channel it looks at the foreground only.

    Formula, with soft counts `TP = sum(p y)`, `FP = sum(p (1 - y))`, `FN = sum((1 - p) y)`:

    ```python
    loss = mean over classes of (1 - (2 TP + smooth) / (2 TP + FP + FN + smooth))
    ```

    Edge cases: an empty target predicted empty costs 0; an empty target with false positives
    costs close to 1, with a gradient that `smooth` controls.

    Args:
        smooth: added to numerator and denominator, in pixels; a number >= 0 or a scalar
            `keras.Variable`.
        pool: `"image"` takes the ratio in every image, `"batch"` over all pixels of the batch.
        squared: whether the denominator holds squares, `sum(p^2) + sum(y^2) + smooth`, as in V-Net:
            the loss is then 0 for `p = y` alone, and its gradient fades on the way there.
        soft_labels: whether `TP = (sum(p) + sum(y) - sum(|p - y|)) / 2`, so that a prediction equal
            to a soft target costs 0. The same for hard labels. Squared sums do that by themselves:
            there it changes nothing.
        from_logits: whether `y_pred` holds logits; otherwise probabilities.
        class_weight: one number >= 0 a class; the weighted mean over the classes is divided by
            their sum, and 0 leaves a class out. For one sigmoid channel two numbers (background,
            foreground).
        ignore_class: label whose pixels count nowhere.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[[1.0], [1.0], [0.0], [0.0]]]])
    >>> y_pred = np.array([[[[0.8], [0.6], [0.4], [0.2]]]])
    >>> round(float(kerasloss.Dice(smooth=0.0)(y_true, y_pred)), 4)
    0.3

    Reference:
        Milletari, Navab, Ahmadi (2016), V-Net, 3DV. https://arxiv.org/abs/1606.04797
        Soft labels: Wang, Popordanoska, Bertels, Lemmens, Blaschko (2023), Dice semimetric losses,
        MICCAI. https://arxiv.org/abs/2303.16296
    """

    function = staticmethod(dice)
    tunable = ("smooth",)

    def __init__(
        self,
        *,
        smooth: Any = 1.0,
        pool: Pool = "image",
        squared: bool = False,
        soft_labels: bool = False,
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
            squared=squared,
            soft_labels=soft_labels,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


@register_keras_serializable("kerasloss")
class IoU(SegmentationLoss):
    """One minus the soft intersection over union (Jaccard index) of each class.

    Use it when the result is judged by IoU; it punishes errors on small objects harder than
    `Dice`.

    Formula, with the soft counts of `Dice`:

    ```python
    loss = mean over classes of (1 - (TP + smooth) / (TP + FP + FN + smooth))
    ```

    Edge cases: as for `Dice`.

    Args:
        smooth: as in `Dice`.
        pool: as in `Dice`.
        squared: whether the denominator holds squares, `sum(p^2) + sum(y^2) - TP + smooth`; this is
            `JaccardDistance`.
        soft_labels: as in `Dice`.
        from_logits: as in `Dice`.
        class_weight: as in `Dice`.
        ignore_class: as in `Dice`.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[[1.0], [1.0], [0.0], [0.0]]]])
    >>> y_pred = np.array([[[[0.8], [0.6], [0.4], [0.2]]]])
    >>> round(float(kerasloss.IoU(smooth=0.0)(y_true, y_pred)), 4)
    0.4615

    Reference:
        Rahman, Wang (2016), Optimizing intersection-over-union in deep neural networks for image
        segmentation, ISVC; van Beers, Lindstrom, Okafor, Wiering (2019), ICPRAM.
        Soft labels: Wang, Ning, Blaschko (2023), Jaccard metric losses, NeurIPS.
        https://arxiv.org/abs/2302.05666
    """

    function = staticmethod(iou)
    tunable = ("smooth",)

    def __init__(
        self,
        *,
        smooth: Any = 1.0,
        pool: Pool = "image",
        squared: bool = False,
        soft_labels: bool = False,
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
            squared=squared,
            soft_labels=soft_labels,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


@register_keras_serializable("kerasloss")
class Tversky(SegmentationLoss):
    """One minus the Tversky index: a Dice loss that weighs false alarms and misses differently.

    Use it when missing an object is worse than a false alarm (`beta > alpha`, the default), or the
    other way round. `alpha = beta = 0.5` is `Dice` with twice the `smooth`, `alpha = beta = 1` is
    `IoU`.

    Formula, with the soft counts of `Dice`:

    ```python
    loss = mean over classes of (1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth))
    ```

    `keras.losses.Tversky` up to Keras 3.15 has `alpha` and `beta` swapped against its own
    documentation.

    Edge cases: as for `Dice`.

    Args:
        alpha: weight of false positives, >= 0; a number or a scalar `keras.Variable`.
        beta: weight of false negatives, >= 0; a number or a scalar `keras.Variable`.
        smooth: as in `Dice`.
        pool: as in `Dice`.
        soft_labels: as in `Dice`. (No `squared`: a squared difference is neither a false positive
            nor a false negative, so `alpha` and `beta` would have nothing to weigh.)
        from_logits: as in `Dice`.
        class_weight: as in `Dice`.
        ignore_class: as in `Dice`.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[[1.0], [1.0], [0.0], [0.0]]]])
    >>> y_pred = np.array([[[[0.8], [0.6], [0.4], [0.2]]]])
    >>> round(float(kerasloss.Tversky(alpha=0.0, beta=1.0, smooth=0.0)(y_true, y_pred)), 4)
    0.3

    Reference:
        Salehi, Erdogmus, Gholipour (2017), Tversky loss function for image segmentation using 3D
        fully convolutional deep networks, MLMI. https://arxiv.org/abs/1706.05721
    """

    function = staticmethod(tversky)
    tunable = ("alpha", "beta", "smooth")

    def __init__(
        self,
        *,
        alpha: Any = 0.3,
        beta: Any = 0.7,
        smooth: Any = 1.0,
        pool: Pool = "image",
        soft_labels: bool = False,
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check.number("Tversky", "alpha", alpha, minimum=0.0)
        super().__init__(
            alpha=alpha,
            beta=beta,
            smooth=smooth,
            pool=pool,
            soft_labels=soft_labels,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
