"""Overlap metrics: how much target and prediction have in common."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss.metrics._empty import Empty
from kerasloss.metrics.base import image_scores
from kerasloss.metrics.counts import Counts, OverlapMetric, Pool, count, ratio
from kerasloss.metrics.masks import Average
from kerasloss.ops.pixels import Tensor, divide

__all__ = ["CBDiceScore", "DiceScore", "IoUScore", "cb_dice_score", "dice_score", "iou_score"]


def _dice(c: Counts) -> Tensor:
    return ratio(2.0 * c.hit, 2.0 * c.hit + c.false_alarm + c.miss, c)


def _iou(c: Counts) -> Tensor:
    return ratio(c.hit, c.hit + c.false_alarm + c.miss, c)


def _cb_dice(c: Counts, empty: Empty) -> Tensor:
    """Of the counts of every class, background included."""
    area = c.hit + c.miss
    weight = divide(ops.ones_like(area), area)
    weight = divide(weight, ops.sum(weight, axis=-1, keepdims=True))
    dice = divide(2.0 * c.hit, 2.0 * c.hit + c.false_alarm + c.miss)
    score = ops.sum(weight * dice, axis=-1, keepdims=True)
    if empty == "skip":
        return score
    invented = ops.logical_and(area == 0, c.false_alarm > 0)
    return ops.where(ops.any(invented, axis=-1, keepdims=True), 0.0, score)


def dice_score(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    average: Average = None,
    include_background: bool = False,
    threshold: float = 0.5,
    empty: Empty = "score",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.metrics.DiceScore`: one value an image and class.

    Shape `(batch, classes)`, NaN for a class that does not count; `(batch,)` if averaged.
    """
    return image_scores(
        "dice_score",
        lambda batch: _dice(count(batch)),
        y_true,
        y_pred,
        sample_weight,
        average=average,
        include_background=include_background,
        threshold=threshold,
        empty=empty,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )


def iou_score(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    average: Average = None,
    include_background: bool = False,
    threshold: float = 0.5,
    empty: Empty = "score",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.metrics.IoUScore`: one value an image and class.

    Shape `(batch, classes)`, NaN for a class that does not count; `(batch,)` if averaged.
    """
    return image_scores(
        "iou_score",
        lambda batch: _iou(count(batch)),
        y_true,
        y_pred,
        sample_weight,
        average=average,
        include_background=include_background,
        threshold=threshold,
        empty=empty,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )


def cb_dice_score(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    threshold: float = 0.5,
    empty: Empty = "score",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.metrics.CBDiceScore`: one value an image, shape `(batch,)`.

    NaN for an image in which nothing is counted.
    """
    return image_scores(
        "cb_dice_score",
        lambda batch: _cb_dice(count(batch), empty),
        y_true,
        y_pred,
        sample_weight,
        average="macro",
        include_background=True,
        threshold=threshold,
        empty=empty,
        from_logits=from_logits,
        ignore_class=ignore_class,
        of_all_classes=True,
    )


@register_keras_serializable("kerasloss")
class DiceScore(OverlapMetric):
    """Dice coefficient (F1 of the pixels) of each class: the usual first number to report.

    Formula, with the pixels that are right and wrong about a class after thresholding:

    ```python
    score = 2 TP / (2 TP + FP + FN)
    ```

    A pixel belongs to its likeliest class: above `threshold` in one sigmoid channel, the largest
    of several channels; soft targets likewise.

    Edge cases: a class in neither target nor prediction scores 1, in one of them 0.

    Args:
        average: `"macro"` for the mean over the classes; None for one number a class, named
            `dice_score/1` and so on in `History`.
        pool: `"image"` takes the ratio in every image and the mean over the images, `"dataset"`
            takes it once, over all pixels of the data set.
        include_background: whether class 0 is scored too.
        threshold: probability above which a pixel of one sigmoid channel is foreground.
        empty: `"score"` scores a class that is not in the target, by whether it was predicted;
            `"skip"` leaves that image out of the mean of that class and counts it in `skipped`.
        from_logits: whether `y_pred` holds logits; otherwise probabilities.
        ignore_class: label whose pixels count nowhere; it is not scored itself.
        name: as in `kerasloss.metrics.SegmentationMetric`.
        dtype: as in `kerasloss.metrics.SegmentationMetric`.

    Example:

    >>> y_true = np.array([[[1, 1, 0, 0]], [[0, 0, 0, 0]]])
    >>> y_pred = np.array([[[[0.9], [0.2], [0.7], [0.1]]], [[[0.1], [0.0], [0.2], [0.3]]]])
    >>> float(kerasloss.metrics.DiceScore()(y_true, y_pred))
    0.75

    Reference:
        Dice (1945), Measures of the amount of ecologic association between species, Ecology 26;
        Maier-Hein et al. (2024), Metrics reloaded, Nature Methods 21.
        https://arxiv.org/abs/2206.01653
    """

    function = staticmethod(dice_score)
    formula = staticmethod(_dice)


@register_keras_serializable("kerasloss")
class IoUScore(OverlapMetric):
    """Intersection over union (Jaccard index) of each class.

    Formula, with the counts of `DiceScore`:

    ```python
    score = TP / (TP + FP + FN)
    ```

    Edge cases: as for `DiceScore`. "Mean IoU" of the street-scene benchmarks is
    `IoUScore(pool="dataset", include_background=True)`.

    Args:
        average: as in `DiceScore`.
        pool: as in `DiceScore`.
        include_background: as in `DiceScore`.
        threshold: as in `DiceScore`.
        empty: as in `DiceScore`.
        from_logits: as in `DiceScore`.
        ignore_class: as in `DiceScore`.
        name: as in `kerasloss.metrics.SegmentationMetric`.
        dtype: as in `kerasloss.metrics.SegmentationMetric`.

    Example:

    >>> y_true = np.array([[[1, 1, 0, 0]]])
    >>> y_pred = np.array([[[[0.9], [0.2], [0.1], [0.1]]]])
    >>> float(kerasloss.metrics.IoUScore()(y_true, y_pred))
    0.5

    Reference:
        Everingham et al. (2010), The PASCAL visual object classes challenge, IJCV 88.
    """

    function = staticmethod(iou_score)
    formula = staticmethod(_iou)


@register_keras_serializable("kerasloss")
class CBDiceScore(OverlapMetric):
    """Class-balanced Dice coefficient: the mean over all classes, rare ones weighing more.

    What `kerasloss.CBDice` is one minus of, on thresholded predictions. The background takes part;
    there is one number an image.

    Formula, with the share `r_c` of class c among the counted pixels and the counts of `DiceScore`:

    ```python
    w_c = (1 / r_c) / sum over present classes of (1 / r_k)
    score = sum over present classes of w_c * 2 TP / (2 TP + FP + FN)
    ```

    Edge cases: a class that is neither in the target nor predicted is left out. One that is
    predicted without being in the target makes the score 0 (the limit of the formula);
    `empty="skip"` leaves it out instead.

    Args:
        pool: as in `DiceScore`.
        threshold: as in `DiceScore`.
        empty: as in `DiceScore`, of the classes within an image.
        from_logits: as in `DiceScore`.
        ignore_class: as in `DiceScore`.
        name: as in `kerasloss.metrics.SegmentationMetric`.
        dtype: as in `kerasloss.metrics.SegmentationMetric`.

    Example:

    >>> y_true = np.array([[[1, 0, 0, 0, 0, 0]]])
    >>> y_pred = np.array([[[[0.9], [0.8], [0.1], [0.1], [0.1], [0.1]]]])
    >>> round(float(kerasloss.metrics.CBDiceScore()(y_true, y_pred)), 4)
    0.7037

    Reference:
        Golnari, Diba (2024), Adaptive real-time multi-loss function optimization using dynamic
        memory fusion framework, Biomedical Signal Processing and Control 111 (2026) 108388.
        https://arxiv.org/abs/2410.19745
    """

    function = staticmethod(cb_dice_score)

    def __init__(
        self,
        *,
        pool: Pool = "image",
        threshold: float = 0.5,
        empty: Empty = "score",
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super(OverlapMetric, self).__init__(
            pool=pool,
            threshold=threshold,
            empty=empty,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )

    @property
    def scores_background(self) -> bool:
        return True

    def pooled(self, counts: Counts) -> Tensor:
        return _cb_dice(counts, self.empty)
