"""How far the area of a class is off."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss.metrics import masks
from kerasloss.metrics._empty import Empty, settle
from kerasloss.metrics.base import image_scores
from kerasloss.metrics.counts import Counts, OverlapMetric, Pool, count
from kerasloss.metrics.masks import Average
from kerasloss.ops.pixels import Tensor, divide

__all__ = ["AreaError", "area_error"]


def _area_error(c: Counts, absolute: bool) -> Tensor:
    area, excess = c.hit + c.miss, c.false_alarm - c.miss
    error = settle(divide(excess, area), area > 0, c.false_alarm == 0, best=0.0, worst=1.0)
    return ops.abs(error) if absolute else error


def area_error(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    absolute: bool = False,
    average: Average = None,
    include_background: bool = False,
    threshold: float = 0.5,
    empty: Empty = "score",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.metrics.AreaError`: one value an image and class.

    Shape `(batch, classes)`, NaN for a class that does not count; `(batch,)` if averaged.
    """
    masks.check("area_error", {"absolute": absolute})
    return image_scores(
        "area_error",
        lambda batch: _area_error(count(batch), absolute),
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
class AreaError(OverlapMetric):
    """Relative error of the area (in 3-D the volume) of each class; perfect is 0, not 1.

    Signed by default: positive where the prediction is too large, so that errors of both signs
    cancel in the mean over the images, as they do in a measured swelling.

    Formula, with the predicted area `|P|` and the true area `|T|`:

    ```python
    error = |P| / |T| - 1
    ```

    Edge cases: a class in neither target nor prediction has error 0. Missed altogether it has
    error -1, and invented, where the formula is infinite, error 1.

    Args:
        absolute: whether the absolute value of every image's error is taken.
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
    >>> float(kerasloss.metrics.AreaError()(y_true, y_pred))
    0.5

    Reference:
        Agarwal, Sawant, et al. (2023), Engineering Applications of Artificial Intelligence 126,
        106747.
    """

    function = staticmethod(area_error)

    def __init__(
        self,
        *,
        absolute: bool = False,
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
        super(OverlapMetric, self).__init__(
            absolute=absolute,
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
        return _area_error(counts, self.absolute)
