"""What the losses share that weigh a pixel by its distance to the boundary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras import ops

from kerasloss.losses.base import SegmentationLoss
from kerasloss.ops.maps import boundary_distance, split, unsigned
from kerasloss.ops.pixels import Pixels, Tensor, divide, prepare


class DistanceLoss(SegmentationLoss):
    """A loss whose target may carry its distance maps behind it (`precomputed`)."""

    precomputed: bool

    def image_weight(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor | None:
        if self.precomputed:
            y_true, _ = split(type(self).__name__, y_true, y_pred)
        return super().image_weight(y_true, y_pred, sample_weight)


class Classes(NamedTuple):
    """One channel a class that is counted, each of shape `(batch, *space, classes)`."""

    pixels: Pixels
    target: Tensor
    probability: Tensor
    inside: Tensor
    distance: Tensor

    def mean(self, cost: Tensor, weight: Tensor | None = None) -> Tensor:
        """Mean of a cost over the pixels, weighted also by `weight`; shape `(batch, classes)`."""
        axes = self.pixels.axes
        if self.pixels.weight is not None:
            weight = self.pixels.weight if weight is None else weight * self.pixels.weight
        if weight is None:
            return ops.mean(cost, axis=axes)
        return divide(ops.sum(weight * cost, axis=axes), ops.sum(weight, axis=axes))


def read(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    sample_weight: Tensor | None,
    *,
    spacing: Any,
    precomputed: bool,
    every_class: bool,
    from_logits: bool,
    ignore_class: int | None,
) -> Classes:
    """Reads a batch and finds the distance of its pixels to the boundaries of the target.

    Args:
        owner: who complains about shapes.
        y_true: target, with signed distance maps behind it if `precomputed`.
        y_pred: prediction.
        sample_weight: as in the loss.
        spacing: as in `kerasloss.ops.distance_transform`.
        precomputed: whether `y_true` carries the maps.
        every_class: whether a sigmoid channel becomes two classes.
        from_logits: as in the loss.
        ignore_class: as in the loss.
    """
    maps = None
    if precomputed:
        y_true, maps = split(owner, y_true, y_pred)
    pixels = prepare(
        owner, y_true, y_pred, sample_weight, from_logits=from_logits, ignore_class=ignore_class
    )
    inside = mask(pixels.target, pixels)
    if maps is None:
        distance = boundary_distance(inside, spacing)
    else:
        distance = unsigned(maps, inside, spacing)
    distance = ops.cast(ops.stop_gradient(distance), pixels.dtype)
    target, probability = pixels.target, pixels.probability()
    if every_class and pixels.channels == 1:
        target, probability = pixels.classes()
        # Both classes have the same boundary.
        inside = ops.concatenate([ops.logical_not(inside), inside], axis=-1)
        distance = ops.concatenate([distance, distance], axis=-1)
    return Classes(pixels, target, probability, inside, distance)


def mask(values: Tensor, pixels: Pixels) -> Tensor:
    """Where target or prediction exceeds a half; pixels that do not count are outside."""
    inside = values > 0.5
    return inside if pixels.weight is None else ops.logical_and(inside, pixels.weight > 0)


def targets(losses: Sequence[SegmentationLoss], y_true: Tensor, y_pred: Tensor) -> list[Tensor]:
    """What each of several losses sees of one target: the maps only where they are asked for."""
    wants_maps = [getattr(loss, "precomputed", False) for loss in losses]
    if not any(wants_maps):
        return [y_true] * len(losses)
    plain, _ = split("Compound", y_true, y_pred)
    return [y_true if wanted else plain for wanted in wants_maps]
