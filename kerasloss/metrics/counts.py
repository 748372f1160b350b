"""Hard counts of right and wrong pixels, and the metrics that are ratios of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

from keras import ops

from kerasloss.metrics import masks
from kerasloss.metrics._empty import Empty, settle
from kerasloss.metrics.base import SegmentationMetric
from kerasloss.metrics.masks import Average, Masks
from kerasloss.ops.pixels import Tensor, divide

Pool = Literal["image", "dataset"]


class Counts(NamedTuple):
    """Weighted pixels: true positives, false positives, false negatives, true negatives."""

    hit: Tensor
    false_alarm: Tensor
    miss: Tensor
    rejection: Tensor


def count(batch: Masks) -> Counts:
    """The four counts of every image and class, each of shape `(batch, classes)`."""
    truth, predicted = batch.truth, batch.predicted
    missing, silent = ops.logical_not(truth), ops.logical_not(predicted)
    pairs = ((truth, predicted), (missing, predicted), (truth, silent), (missing, silent))
    return Counts(*(batch.total(ops.logical_and(*pair)) for pair in pairs))


def ratio(part: Tensor, whole: Tensor, counts: Counts) -> Tensor:
    """`part / whole`; 0 / 0 is 1 where no pixel is wrong, else 0."""
    perfect = counts.false_alarm + counts.miss == 0
    return settle(divide(part, whole), whole > 0, perfect, best=1.0, worst=0.0)


class OverlapMetric(SegmentationMetric):
    """Base class of the metrics that are a ratio of pixel counts.

    A subclass sets `function` to its twin and `formula` to what makes a value of counts.
    """

    formula: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        *,
        average: Average = "macro",
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
            average=average,
            pool=pool,
            include_background=include_background,
            threshold=threshold,
            empty=empty,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )

    def pooled(self, counts: Counts) -> Tensor:
        """The value of every class from the counts of a whole data set."""
        return type(self).formula(counts)

    def rows(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None) -> Tensor:
        if self.pool == "image":
            return super().rows(y_true, y_pred, sample_weight)
        batch = masks.masks(
            type(self).__name__,
            y_true,
            y_pred,
            sample_weight,
            threshold=self.threshold,
            from_logits=self.from_logits,
            include_background=self.scores_background,
            ignore_class=self.ignore_class,
        )
        counts = ops.stack(list(count(batch)), axis=1)
        counted = ops.expand_dims(batch.counted(self.empty), 1)
        return ops.where(counted, counts, float("nan"))

    @property
    def scores_background(self) -> bool:
        """Whether its counts are needed."""
        return bool(self.include_background)

    def values(self, sums: Tensor, images: Tensor) -> Tensor:
        if self.pool == "image":
            return super().values(sums, images)
        return self.pooled(Counts(*(sums[index] for index in range(4))))
