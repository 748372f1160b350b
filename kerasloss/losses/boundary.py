"""Boundary losses: what a pixel costs depends on how far it is from the boundary of the target."""

from __future__ import annotations

from typing import Any, Literal

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, class_factors
from kerasloss.ops.distance import distance_transform
from kerasloss.ops.objects import object_size
from kerasloss.ops.pixels import Pixels, Tensor, divide, prepare

__all__ = ["DistanceMap", "distance_map"]

Kind = Literal["object", "image"]


def _rim(inside: Tensor, kind: Kind) -> Tensor:
    """Closeness to the boundary of a mask, 0 to 1 inside and 0 outside; shape `(batch, *space)`."""
    distance = distance_transform(inside)
    if kind == "object":
        largest = object_size(inside, distance)
        return ops.where(largest > 0, 1.0 - divide(distance, largest), 0.0)
    axes = tuple(range(1, len(inside.shape)))
    depth = ops.where(inside, ops.max(distance, axis=axes, keepdims=True) - distance, 0.0)
    return divide(depth, ops.max(depth, axis=axes, keepdims=True))


def _closeness(pixels: Pixels, kind: Kind) -> Tensor:
    """The map D of the whole target, shape `(batch, *space, 1)`."""
    counted = True if pixels.weight is None else pixels.weight[..., 0] > 0
    inside = [pixels.target[..., c] > 0.5 for c in range(pixels.channels)]
    if pixels.channels == 1:
        inside = [ops.logical_not(inside[0]), *inside]
    total = 0.0
    # The background is no object; seen over the image it has a rim like any other class.
    for mask in inside[1:] if kind == "object" else inside:
        total = total + _rim(ops.logical_and(mask, counted), kind)
    return ops.cast(ops.expand_dims(ops.stop_gradient(total), -1), pixels.dtype)


def distance_map(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    kind: Kind = "object",
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.DistanceMap`: one value an image, shape `(batch,)`."""
    _check.choice("distance_map", "kind", kind, ("object", "image"))
    pixels = prepare(
        "distance_map",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    factors = class_factors(pixels, class_weight, "distance_map")
    cost = pixels.per_class(ops.negative, factors)
    return pixels.mean((1.0 + _closeness(pixels, kind)) * cost)


@register_keras_serializable("kerasloss")
class DistanceMap(SegmentationLoss):
    """Cross-entropy in which pixels near the boundary of the target weigh up to twice as much.

    Use it when outlines matter, or when touching objects must stay apart. The distances are
    computed from `y_true` inside the training step, exactly, on every backend.

    Formula, with the Euclidean distance `t` of a pixel to the nearest one of another class:

    ```python
    loss = mean over pixels of (1 + D) * cross_entropy
    D    = 1 - t / (largest t in the pixel's object)       kind="object", 0 on the background
    D    = (max t - t) / max(max t - t) in the class       kind="image", background included
    ```

    Objects are connected over edges and corners.

    Edge cases: an object at most two pixels wide has D = 0, as has an image of one class only.

    Args:
        kind: `"object"` normalises inside each object and leaves the background at weight 1 (the
            bubble study); `"image"` emphasises both sides of the boundary, normalised over the
            image (Caliva et al.).
        from_logits: whether `y_pred` holds logits; otherwise probabilities.
        class_weight: as in `CrossEntropy`.
        ignore_class: label whose pixels count nowhere; they bound an object like another class.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[0, 1, 1, 1, 0]]])
    >>> y_pred = np.full((1, 1, 5, 1), 0.5)
    >>> round(float(kerasloss.DistanceMap(kind="object")(y_true, y_pred)), 4)
    0.8318

    Reference:
        Agarwal, Sawant, et al. (2023), Engineering Applications of Artificial Intelligence 126,
        106747; Caliva et al. (2019), Distance map loss penalty term for semantic segmentation,
        MIDL. https://arxiv.org/abs/1908.03679
    """

    function = staticmethod(distance_map)

    def __init__(
        self,
        *,
        kind: Kind = "object",
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check.choice("DistanceMap", "kind", kind, ("object", "image"))
        super().__init__(
            kind=kind,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
