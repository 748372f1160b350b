"""Soft counts of true positives, false positives and false negatives: what overlap means here."""

from __future__ import annotations

from typing import Literal

from keras import ops

from kerasloss.ops.pixels import Pixels, Tensor

Pool = Literal["image", "batch"]


def soft_counts(pixels: Pixels, pool: Pool, *, every_class: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Soft true positives, false positives and false negatives, each `(batch or 1, classes)`."""
    if every_class:
        target, probability = pixels.classes()
    else:
        target, probability = pixels.target, pixels.probability()
    axes = (0, *pixels.axes) if pool == "batch" else pixels.axes
    hit = target * probability
    if pixels.weight is not None:
        weight = pixels.weight
        if pool == "batch" and pixels.times is not None:
            weight = weight * pixels.times
        hit, target, probability = (weight * part for part in (hit, target, probability))
    true_positive, positive, predicted = (
        ops.sum(part, axis=axes) for part in (hit, target, probability)
    )
    if pool == "batch":
        true_positive, positive, predicted = (
            ops.expand_dims(part, 0) for part in (true_positive, positive, predicted)
        )
    return true_positive, predicted - true_positive, positive - true_positive


def per_image(values: Tensor, pixels: Pixels) -> Tensor:
    """Repeats a value that was pooled over the batch, so that there is one an image."""
    return ops.broadcast_to(values, (ops.shape(pixels.pred)[0],))
