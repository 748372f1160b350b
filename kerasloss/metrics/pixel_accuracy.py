"""Accuracy: the share of pixels that are right."""

from __future__ import annotations

from typing import Any, Literal

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss.metrics import masks
from kerasloss.metrics._empty import Empty
from kerasloss.metrics.base import image_scores
from kerasloss.metrics.counts import Counts, OverlapMetric, Pool, count
from kerasloss.ops.pixels import Tensor, divide

__all__ = ["Accuracy", "accuracy"]

AnyAverage = Literal["micro", "macro"] | None


def _accuracy(c: Counts) -> Tensor:
    return divide(c.hit + c.rejection, c.hit + c.rejection + c.false_alarm + c.miss)


def _share_right(c: Counts) -> Tensor:
    """Of the counts of every class, background included."""
    pixels = (c.hit + c.rejection + c.false_alarm + c.miss)[..., :1]  # the same for each class
    return divide(ops.sum(c.hit, axis=-1, keepdims=True), pixels)


def accuracy(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    average: AnyAverage = "micro",
    include_background: bool = False,
    threshold: float = 0.5,
    empty: Empty = "score",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.metrics.Accuracy`: one value an image, shape `(batch,)`.

    NaN for an image in which nothing is counted; shape `(batch, classes)` with `average=None`.
    """
    masks.check("accuracy", {"average": average}, ("micro", "macro"))
    micro = average == "micro"
    return image_scores(
        "accuracy",
        lambda batch: (_share_right if micro else _accuracy)(count(batch)),
        y_true,
        y_pred,
        sample_weight,
        average="macro" if average else None,
        include_background=include_background or micro,
        threshold=threshold,
        empty=empty,
        from_logits=from_logits,
        ignore_class=ignore_class,
        of_all_classes=micro,
    )


@register_keras_serializable("kerasloss")
class Accuracy(OverlapMetric):
    """Share of the pixels that are right. A blank prediction of small objects scores close to 1.

    Formula, with the counts of `DiceScore`:

    ```python
    score = pixels whose class is right / pixels          average="micro"
    score = (TP + TN) / (TP + FP + FN + TN) of each class  otherwise
    ```

    Edge cases: none; there is always a pixel to divide by.

    Args:
        average: `"micro"` for the share of right pixels over all classes, background included;
            `"macro"` or None as in `DiceScore`, each class against the rest.
        pool: as in `DiceScore`.
        include_background: as in `DiceScore`; without effect on `average="micro"`.
        threshold: as in `DiceScore`.
        empty: as in `DiceScore`; without effect on `average="micro"`.
        from_logits: as in `DiceScore`.
        ignore_class: as in `DiceScore`.
        name: as in `kerasloss.metrics.SegmentationMetric`.
        dtype: as in `kerasloss.metrics.SegmentationMetric`.

    Example:

    >>> y_true = np.array([[[1, 1, 0, 0, 0]]])
    >>> y_pred = np.array([[[[0.9], [0.8], [0.7], [0.1], [0.1]]]])
    >>> round(float(kerasloss.metrics.Accuracy()(y_true, y_pred)), 4)
    0.8

    Reference:
        Maier-Hein et al. (2024), Metrics reloaded, Nature Methods 21.
        https://arxiv.org/abs/2206.01653
    """

    function = staticmethod(accuracy)
    averages = ("micro", "macro")

    def __init__(
        self,
        *,
        average: AnyAverage = "micro",
        pool: Pool = "image",
        include_background: bool = False,
        threshold: float = 0.5,
        empty: Empty = "score",
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            average=average,  # type: ignore[arg-type]
            pool=pool,
            include_background=include_background,
            threshold=threshold,
            empty=empty,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )

    @property
    def scores_background(self) -> bool:
        return self.average == "micro" or bool(self.include_background)

    def pooled(self, counts: Counts) -> Tensor:
        return (_share_right if self.average == "micro" else _accuracy)(counts)
