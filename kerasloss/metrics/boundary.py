"""Overlap of the boundary regions only, which large objects do not hide."""

from __future__ import annotations

import math
from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.metrics._empty import Empty, settle
from kerasloss.metrics.base import SegmentationMetric, image_scores
from kerasloss.metrics.masks import Average, Masks
from kerasloss.ops.outline import erode
from kerasloss.ops.pixels import Tensor, divide

__all__ = ["BoundaryIoU", "boundary_iou"]


def _steps(width: float, space: tuple[int, ...]) -> int:
    """The width of the region in pixels."""
    if width >= 1:
        return round(width)
    return max(1, round(width * math.sqrt(sum(size**2 for size in space))))


def _boundary_iou(batch: Masks, width: float) -> Tensor:
    steps = _steps(width, batch.space)
    both = [
        ops.logical_and(mask, ops.logical_not(erode(mask, steps)))
        for mask in batch.without_ignored().one_by_one()
    ]
    axes = tuple(range(1, len(batch.space) + 1))
    common, either = (
        ops.sum(ops.cast(combined(*both), "float32"), axis=axes)
        for combined in (ops.logical_and, ops.logical_or)
    )
    # A mask that is not empty has a boundary, so there is no region only if there is no mask.
    score = settle(divide(common, either), either > 0, either == 0, best=1.0, worst=0.0)
    return ops.reshape(score, (-1, batch.truth.shape[-1]))


def boundary_iou(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    width: float = 0.02,
    average: Average = None,
    include_background: bool = False,
    threshold: float = 0.5,
    empty: Empty = "score",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.metrics.BoundaryIoU`: one value an image and class.

    Shape `(batch, classes)`, NaN for a class that does not count; `(batch,)` if averaged.
    """
    _check.number("boundary_iou", "width", width, above=0.0)
    return image_scores(
        "boundary_iou",
        lambda batch: _boundary_iou(batch, width),
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
class BoundaryIoU(SegmentationMetric):
    """Intersection over union of the pixels near the boundary of target and prediction.

    Use it for large objects, where the inside makes every IoU look good.

    Formula, with the boundary regions `P_d` and `T_d`, the pixels of each mask at most `width` from
    its outside:

    ```python
    score = |P_d and T_d| / |P_d or T_d|
    ```

    As in the authors' code the regions are what as many erosions with 3 x 3 ones take away as
    `width` has pixels (a diagonal step counts as one), and beyond the image is outside.

    Edge cases: a class in neither target nor prediction scores 1, in one of them 0.

    Args:
        width: from 1 on, a number of pixels; below, a fraction of the diagonal of the image,
            rounded to pixels, one at least.
        average: as in `DiceScore`.
        include_background: as in `DiceScore`.
        threshold: as in `DiceScore`.
        empty: as in `DiceScore`.
        from_logits: as in `DiceScore`.
        ignore_class: as in `DiceScore`.
        name: as in `kerasloss.metrics.SegmentationMetric`.
        dtype: as in `kerasloss.metrics.SegmentationMetric`.

    Example:

    >>> y_true = np.array([[[0, 1, 1, 1, 1, 0]]])
    >>> y_pred = np.array([[[[0.0], [0.9], [0.9], [0.9], [0.2], [0.0]]]])
    >>> y_true, y_pred = y_true[:, 0], y_pred[:, 0]
    >>> round(float(kerasloss.metrics.BoundaryIoU(width=1)(y_true, y_pred)), 4)
    0.3333

    Reference:
        Cheng, Girshick, Dollar, Berg, Kirillov (2021), Boundary IoU: improving object-centric image
        segmentation evaluation, CVPR. https://arxiv.org/abs/2103.16562
    """

    function = staticmethod(boundary_iou)

    def __init__(
        self,
        *,
        width: float = 0.02,
        average: Average = "macro",
        include_background: bool = False,
        threshold: float = 0.5,
        empty: Empty = "score",
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check.number("BoundaryIoU", "width", width, above=0.0)
        super().__init__(
            width=width,
            average=average,
            include_background=include_background,
            threshold=threshold,
            empty=empty,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )
