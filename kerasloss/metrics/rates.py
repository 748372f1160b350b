"""Rates of right and wrong pixels: precision, recall and specificity."""

from __future__ import annotations

from keras.saving import register_keras_serializable

from kerasloss.metrics._empty import Empty
from kerasloss.metrics.base import image_scores
from kerasloss.metrics.counts import Counts, OverlapMetric, count, ratio
from kerasloss.metrics.masks import Average
from kerasloss.ops.pixels import Tensor

__all__ = ["Precision", "Recall", "Specificity", "precision", "recall", "specificity"]


def _precision(c: Counts) -> Tensor:
    return ratio(c.hit, c.hit + c.false_alarm, c)


def _recall(c: Counts) -> Tensor:
    return ratio(c.hit, c.hit + c.miss, c)


def _specificity(c: Counts) -> Tensor:
    return ratio(c.rejection, c.rejection + c.false_alarm, c)


def precision(
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
    """Functional twin of `kerasloss.metrics.Precision`: one value an image and class.

    Shape `(batch, classes)`, NaN for a class that does not count; `(batch,)` if averaged.
    """
    return image_scores(
        "precision",
        lambda batch: _precision(count(batch)),
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


def recall(
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
    """Functional twin of `kerasloss.metrics.Recall`: one value an image and class.

    Shape `(batch, classes)`, NaN for a class that does not count; `(batch,)` if averaged.
    """
    return image_scores(
        "recall",
        lambda batch: _recall(count(batch)),
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


def specificity(
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
    """Functional twin of `kerasloss.metrics.Specificity`: one value an image and class.

    Shape `(batch, classes)`, NaN for a class that does not count; `(batch,)` if averaged.
    """
    return image_scores(
        "specificity",
        lambda batch: _specificity(count(batch)),
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


@register_keras_serializable("kerasloss")
class Precision(OverlapMetric):
    """Share of the pixels predicted as a class that are of that class.

    Low precision means false alarms. Also called positive predictive value.

    Formula, with the counts of `DiceScore`:

    ```python
    score = TP / (TP + FP)
    ```

    Edge cases: a class that is never predicted scores 1 if the target has none either, else 0.

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

    >>> y_true = np.array([[[1, 1, 0, 0, 0]]])
    >>> y_pred = np.array([[[[0.9], [0.8], [0.7], [0.1], [0.1]]]])
    >>> round(float(kerasloss.metrics.Precision()(y_true, y_pred)), 4)
    0.6667

    Reference:
        Maier-Hein et al. (2024), Metrics reloaded, Nature Methods 21.
        https://arxiv.org/abs/2206.01653
    """

    function = staticmethod(precision)
    formula = staticmethod(_precision)


@register_keras_serializable("kerasloss")
class Recall(OverlapMetric):
    """Share of the pixels of a class that are predicted as that class.

    Low recall means misses. Also called sensitivity.

    Formula, with the counts of `DiceScore`:

    ```python
    score = TP / (TP + FN)
    ```

    Edge cases: a class that is not in the target scores 1 if it is not predicted, else 0.

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

    >>> y_true = np.array([[[1, 1, 0, 0, 0]]])
    >>> y_pred = np.array([[[[0.9], [0.8], [0.7], [0.1], [0.1]]]])
    >>> float(kerasloss.metrics.Recall()(y_true, y_pred))
    1.0

    Reference:
        Maier-Hein et al. (2024), Metrics reloaded, Nature Methods 21.
        https://arxiv.org/abs/2206.01653
    """

    function = staticmethod(recall)
    formula = staticmethod(_recall)


@register_keras_serializable("kerasloss")
class Specificity(OverlapMetric):
    """Share of the pixels outside a class that are predicted outside it.

    Of little use for small objects: nearly all pixels are outside, so it is close to 1.

    Formula, with the counts of `DiceScore`:

    ```python
    score = TN / (TN + FP)
    ```

    Edge cases: a class that fills the target scores 1 if it fills the prediction, else 0.

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

    >>> y_true = np.array([[[1, 1, 0, 0, 0]]])
    >>> y_pred = np.array([[[[0.9], [0.8], [0.7], [0.1], [0.1]]]])
    >>> round(float(kerasloss.metrics.Specificity()(y_true, y_pred)), 4)
    0.6667

    Reference:
        Maier-Hein et al. (2024), Metrics reloaded, Nature Methods 21.
        https://arxiv.org/abs/2206.01653
    """

    function = staticmethod(specificity)
    formula = staticmethod(_specificity)
