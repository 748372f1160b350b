"""Outlines of masks, and the distances from one to the other."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from keras import ops

from kerasloss import _check
from kerasloss.metrics._empty import settle
from kerasloss.metrics.masks import Masks
from kerasloss.ops.distance import distance_transform
from kerasloss.ops.outline import outline
from kerasloss.ops.pixels import Tensor

# One number a space axis, or one for all; None for pixels.
Spacing = tuple[float, ...] | float | None


class Direction(NamedTuple):
    """From one outline to the other: where it runs, and how far each pixel is from the other."""

    outline: Tensor
    distance: Tensor

    def total(self, values: Tensor) -> Tensor:
        """Sum of values along the outline, one number a mask."""
        return ops.sum(ops.where(self.outline, values, 0.0), axis=self._space)

    @property
    def length(self) -> Tensor:
        """Number of pixels of the outline."""
        return self.total(ops.ones_like(self.distance))

    @property
    def _space(self) -> tuple[int, ...]:
        return tuple(range(1, len(self.outline.shape)))

    def percentile(self, percentile: float) -> Tensor:
        """Percentile of the distances, linear between two of them; anything without an outline."""
        if percentile == 100.0:
            return ops.max(ops.where(self.outline, self.distance, 0.0), axis=self._space)
        size = math.prod(tuple(self.outline.shape)[1:])
        # Larger than any distance, so that the pixels beside the outline come last.
        last = ops.max(self.distance) + 1.0
        distance = ops.reshape(ops.where(self.outline, self.distance, last), (-1, size))
        ordered = ops.sort(distance, axis=-1)
        end = ops.maximum(self.length - 1.0, 0.0)
        position = percentile / 100.0 * end
        low = ops.floor(position)
        below, above = (
            ops.take_along_axis(ordered, ops.expand_dims(ops.cast(index, "int32"), -1), axis=-1)
            for index in (low, ops.minimum(low + 1.0, end))
        )
        return below[:, 0] + (position - low) * (above - below)[:, 0]


class Surfaces(NamedTuple):
    """The outlines of a batch of masks, predicted against true and the other way round."""

    from_prediction: Direction
    from_truth: Direction

    @property
    def length(self) -> Tensor:
        """Number of pixels of both outlines."""
        return self.from_prediction.length + self.from_truth.length


def surfaces(batch: Masks, spacing: Spacing) -> Surfaces:
    """Outlines and their distances, one entry for every image and class."""
    truth, predicted = (outline(mask) for mask in batch.without_ignored().one_by_one())
    away = ops.logical_not(ops.concatenate([truth, predicted], axis=0))
    distance = distance_transform(away, spacing=spacing)
    count = ops.shape(truth)[0]
    return Surfaces(Direction(predicted, distance[:count]), Direction(truth, distance[count:]))


def diagonal(space: tuple[int, ...], spacing: Spacing) -> float:
    """Length of the diagonal of the image, in the unit of `spacing`."""
    if isinstance(spacing, tuple):
        steps = spacing
    else:
        steps = (1.0 if spacing is None else spacing,) * len(space)
    return math.sqrt(sum((size * step) ** 2 for size, step in zip(space, steps, strict=True)))


def settled(
    batch: Masks, spacing: Spacing, values: Tensor, found: Surfaces, *, distance: bool
) -> Tensor:
    """Applies the policy for empty masks; from one entry a mask to `(batch, classes)`."""
    true, claimed = found.from_truth.length, found.from_prediction.length
    defined = ops.logical_and(true > 0, claimed > 0)
    best, worst = (0.0, diagonal(batch.space, spacing)) if distance else (1.0, 0.0)
    values = settle(values, defined, true + claimed == 0, best=best, worst=worst)
    return ops.reshape(values, (-1, batch.truth.shape[-1]))


def check_spacing(owner: str, spacing: Any, y_pred: Tensor = None) -> Spacing:
    """Checks the distance between neighbouring pixels; returns it as one or several floats."""
    if spacing is None:
        return None
    expected = "`spacing` to be None, a number > 0, or a sequence of one a space axis"
    if isinstance(spacing, (str, bytes, dict)):
        raise _check.error(owner, expected, f"spacing={spacing!r}")
    steps = tuple(spacing) if hasattr(spacing, "__len__") else (spacing,)
    for step in steps:
        _check.number(owner, "spacing", step, above=0.0)
    if not hasattr(spacing, "__len__"):
        return float(spacing)
    axes = (1, 2, 3) if y_pred is None else (len(y_pred.shape) - 2,)
    if len(steps) not in axes:
        raise _check.error(
            owner,
            expected,
            f"{len(steps)} numbers" + ("" if y_pred is None else f" for {axes[0]} space axes"),
        )
    return tuple(float(step) for step in steps)
