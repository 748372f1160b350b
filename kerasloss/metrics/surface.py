"""Surface metrics: how far the outlines of target and prediction are apart."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.metrics._empty import Empty
from kerasloss.metrics.base import SegmentationMetric, image_scores
from kerasloss.metrics.distances import Spacing, check_spacing, settled, surfaces
from kerasloss.metrics.masks import Average, Masks
from kerasloss.ops.pixels import Tensor, divide

__all__ = [
    "AverageSurfaceDistance",
    "HausdorffDistance",
    "NormalizedSurfaceDistance",
    "average_surface_distance",
    "hausdorff_distance",
    "normalized_surface_distance",
]


def _hausdorff(batch: Masks, percentile: float, spacing: Spacing) -> Tensor:
    found = surfaces(batch, spacing)
    values = ops.maximum(*(direction.percentile(percentile) for direction in found))
    return settled(batch, spacing, values, found, distance=True)


def _average(batch: Masks, spacing: Spacing) -> Tensor:
    found = surfaces(batch, spacing)
    total = sum(direction.total(direction.distance) for direction in found)
    return settled(batch, spacing, divide(total, found.length), found, distance=True)


def _normalized(batch: Masks, tolerance: float, spacing: Spacing) -> Tensor:
    found = surfaces(batch, spacing)
    # A distance that equals the tolerance counts, whichever way it was rounded.
    limit = tolerance * (1.0 + 1e-5)
    near = sum(d.total(ops.cast(d.distance <= limit, "float32")) for d in found)
    return settled(batch, spacing, divide(near, found.length), found, distance=False)


def hausdorff_distance(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    percentile: float = 95.0,
    spacing: Any = None,
    average: Average = None,
    include_background: bool = False,
    threshold: float = 0.5,
    empty: Empty = "score",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.metrics.HausdorffDistance`.

    One value an image and class, shape `(batch, classes)`, NaN for a class that does not count;
    `(batch,)` if averaged.
    """
    _check.number("hausdorff_distance", "percentile", percentile, minimum=0.0, maximum=100.0)
    steps = check_spacing("hausdorff_distance", spacing, y_pred)
    return image_scores(
        "hausdorff_distance",
        lambda batch: _hausdorff(batch, percentile, steps),
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


def average_surface_distance(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    spacing: Any = None,
    average: Average = None,
    include_background: bool = False,
    threshold: float = 0.5,
    empty: Empty = "score",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.metrics.AverageSurfaceDistance`.

    One value an image and class, shape `(batch, classes)`, NaN for a class that does not count;
    `(batch,)` if averaged.
    """
    steps = check_spacing("average_surface_distance", spacing, y_pred)
    return image_scores(
        "average_surface_distance",
        lambda batch: _average(batch, steps),
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


def normalized_surface_distance(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    tolerance: float = 1.0,
    spacing: Any = None,
    average: Average = None,
    include_background: bool = False,
    threshold: float = 0.5,
    empty: Empty = "score",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.metrics.NormalizedSurfaceDistance`.

    One value an image and class, shape `(batch, classes)`, NaN for a class that does not count;
    `(batch,)` if averaged.
    """
    _check.number("normalized_surface_distance", "tolerance", tolerance, minimum=0.0)
    steps = check_spacing("normalized_surface_distance", spacing, y_pred)
    return image_scores(
        "normalized_surface_distance",
        lambda batch: _normalized(batch, tolerance, steps),
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
class HausdorffDistance(SegmentationMetric):
    """Distance that nearly every point of one outline has to the other (HD95); 0 is best.

    With `percentile=100` the largest distance, which one stray pixel decides.

    Formula, with the distance `d(p, S)` of a pixel p to the nearest pixel of an outline S:

    ```python
    distance = max(percentile of d(p, T) over p in P, percentile of d(t, P) over t in T)
    ```

    The outlines P and T are the pixels of a mask with a neighbour outside it across an edge (4 or
    6 neighbours); beyond the image is outside, so an object that the border cuts has an outline
    there. Every pixel of an outline counts the same. The larger of both percentiles is taken, as
    in MONAI (other tools pool the distances of both directions first, which gives less); between
    two distances the percentile is linear.

    Edge cases: a class in neither target nor prediction has distance 0, in one of them the
    diagonal of the image in the unit of `spacing`, so that a missed object is never left out.

    Args:
        percentile: between 0 and 100.
        spacing: distance between neighbouring pixels, one number > 0 a space axis (or one for all),
            in the unit of the result, such as `(3.0, 0.8, 0.8)` mm; None for pixels.
        average: as in `DiceScore`.
        include_background: as in `DiceScore`.
        threshold: as in `DiceScore`.
        empty: as in `DiceScore`.
        from_logits: as in `DiceScore`.
        ignore_class: as in `DiceScore`.
        name: as in `kerasloss.metrics.SegmentationMetric`.
        dtype: as in `kerasloss.metrics.SegmentationMetric`.

    Example:

    >>> y_true = np.array([[[0, 1, 0, 0, 0, 0]]])
    >>> y_pred = np.array([[[[0.0], [0.9], [0.0], [0.0], [0.8], [0.0]]]])
    >>> float(kerasloss.metrics.HausdorffDistance(percentile=100)(y_true, y_pred))
    3.0

    Reference:
        Huttenlocher, Klanderman, Rucklidge (1993), Comparing images using the Hausdorff distance,
        IEEE TPAMI 15(9); Maier-Hein et al. (2024), Metrics reloaded, Nature Methods 21.
        https://arxiv.org/abs/2206.01653
    """

    function = staticmethod(hausdorff_distance)

    def __init__(
        self,
        *,
        percentile: float = 95.0,
        spacing: Any = None,
        average: Average = "macro",
        include_background: bool = False,
        threshold: float = 0.5,
        empty: Empty = "score",
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check.number("HausdorffDistance", "percentile", percentile, minimum=0.0, maximum=100.0)
        spacing = check_spacing("HausdorffDistance", spacing)
        super().__init__(
            percentile=percentile,
            spacing=spacing,
            average=average,
            include_background=include_background,
            threshold=threshold,
            empty=empty,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )


@register_keras_serializable("kerasloss")
class AverageSurfaceDistance(SegmentationMetric):
    """Mean distance between the outlines of target and prediction (ASSD); 0 is best.

    Formula, with the outlines and distances of `HausdorffDistance`:

    ```python
    distance = (sum of d(p, T) over p in P + sum of d(t, P) over t in T) / (|P| + |T|)
    ```

    Symmetric: the mean over the pixels of both outlines.

    Edge cases: as for `HausdorffDistance`.

    Args:
        spacing: as in `HausdorffDistance`.
        average: as in `DiceScore`.
        include_background: as in `DiceScore`.
        threshold: as in `DiceScore`.
        empty: as in `DiceScore`.
        from_logits: as in `DiceScore`.
        ignore_class: as in `DiceScore`.
        name: as in `kerasloss.metrics.SegmentationMetric`.
        dtype: as in `kerasloss.metrics.SegmentationMetric`.

    Example:

    >>> y_true = np.array([[[0, 1, 0, 0, 0, 0]]])
    >>> y_pred = np.array([[[[0.0], [0.9], [0.0], [0.0], [0.8], [0.0]]]])
    >>> float(kerasloss.metrics.AverageSurfaceDistance()(y_true, y_pred))
    1.0

    Reference:
        Heimann et al. (2009), Comparison and evaluation of methods for liver segmentation from CT
        datasets, IEEE TMI 28(8).
    """

    function = staticmethod(average_surface_distance)

    def __init__(
        self,
        *,
        spacing: Any = None,
        average: Average = "macro",
        include_background: bool = False,
        threshold: float = 0.5,
        empty: Empty = "score",
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        spacing = check_spacing("AverageSurfaceDistance", spacing)
        super().__init__(
            spacing=spacing,
            average=average,
            include_background=include_background,
            threshold=threshold,
            empty=empty,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )


@register_keras_serializable("kerasloss")
class NormalizedSurfaceDistance(SegmentationMetric):
    """Share of the outlines that lies within a tolerance (surface Dice, NSD); 1 is best.

    Set the tolerance to what two annotators differ by. It is not distracted by the area of large
    objects, as Dice is.

    Formula, with the outlines and distances of `HausdorffDistance`:

    ```python
    score = (number of p in P with d(p, T) <= tolerance + the same of T) / (|P| + |T|)
    ```

    Edge cases: a class in neither target nor prediction scores 1, in one of them 0.

    Args:
        tolerance: largest distance that counts as agreement, >= 0, in the unit of `spacing`.
        spacing: as in `HausdorffDistance`.
        average: as in `DiceScore`.
        include_background: as in `DiceScore`.
        threshold: as in `DiceScore`.
        empty: as in `DiceScore`.
        from_logits: as in `DiceScore`.
        ignore_class: as in `DiceScore`.
        name: as in `kerasloss.metrics.SegmentationMetric`.
        dtype: as in `kerasloss.metrics.SegmentationMetric`.

    Example:

    >>> y_true = np.array([[[0, 1, 0, 0, 0, 0]]])
    >>> y_pred = np.array([[[[0.0], [0.0], [0.9], [0.0], [0.8], [0.0]]]])
    >>> round(float(kerasloss.metrics.NormalizedSurfaceDistance(tolerance=1)(y_true, y_pred)), 4)
    0.6667

    Reference:
        Nikolov et al. (2021), Clinically applicable segmentation of head and neck anatomy for
        radiotherapy, JMIR 23(7). https://arxiv.org/abs/1809.04430
    """

    function = staticmethod(normalized_surface_distance)

    def __init__(
        self,
        *,
        tolerance: float = 1.0,
        spacing: Any = None,
        average: Average = "macro",
        include_background: bool = False,
        threshold: float = 0.5,
        empty: Empty = "score",
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check.number("NormalizedSurfaceDistance", "tolerance", tolerance, minimum=0.0)
        spacing = check_spacing("NormalizedSurfaceDistance", spacing)
        super().__init__(
            tolerance=tolerance,
            spacing=spacing,
            average=average,
            include_background=include_background,
            threshold=threshold,
            empty=empty,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )
