"""Soft counts of true positives, false positives and false negatives: what overlap means here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from keras import ops

from kerasloss.ops.pixels import Pixels, Tensor, magnitude

Pool = Literal["image", "batch"]
Form = Literal["product", "absolute", "squared"]


class Counts(NamedTuple):
    """Soft true positives, false positives and false negatives, each `(batch or 1, classes)`."""

    hit: Tensor
    false_alarm: Tensor
    miss: Tensor


def soft_counts(pixels: Pixels, pool: Pool, *, every_class: bool, form: Form = "product") -> Counts:
    """Soft counts of every class, in one pass over the pixels.

    Args:
        pixels: the batch.
        pool: whether to sum over each image or over the batch.
        every_class: whether one sigmoid channel gives two classes, background and foreground,
            instead of the foreground alone.
        form: what `hit` and the errors are, where target y and probability p are not 0 or 1:

            - `"product"`: `p y`, `p (1 - y)` and `(1 - p) y`
            - `"absolute"`: `min(p, y)`, `max(p - y, 0)` and `max(y - p, 0)`
            - `"squared"`: `p y` and, for both errors, half of `(p - y)^2`
    """
    target, probability = pixels.target, pixels.probability()
    total = _summation(pixels, pool)
    both_classes = every_class and pixels.channels == 1
    if form == "squared":
        hit = total(target * probability)
        false_alarm = miss = 0.5 * total(ops.square(probability - target))
        if both_classes:
            rejection = total((1.0 - target) * (1.0 - probability))
    elif form == "absolute":
        # Not by minimum and maximum: each backend has its own gradient for them at p = y.
        distance = magnitude(probability - target)
        predicted, positive, difference = total(probability), total(target), total(distance)
        hit = 0.5 * (predicted + positive - difference)
        false_alarm = 0.5 * (difference + (predicted - positive))
        miss = 0.5 * (difference - (predicted - positive))
        if both_classes:
            rejection = total(1.0 - 0.5 * (probability + target + distance))
    else:
        hit = total(target * probability)
        miss = total(target) - hit
        if both_classes:
            # Not a difference of sums: the errors are small beside either class, and an absent
            # background would seem to have a size.
            rejection = total((1.0 - target) * (1.0 - probability))
            false_alarm = total((1.0 - target) * probability)
        else:
            false_alarm = total(probability) - hit
    if not both_classes:
        return Counts(hit, false_alarm, miss)
    # The background's errors are those of the foreground, the other way round.
    return Counts(
        ops.concatenate([rejection, hit], axis=-1),
        ops.concatenate([miss, false_alarm], axis=-1),
        ops.concatenate([false_alarm, miss], axis=-1),
    )


def pixel_count(pixels: Pixels, pool: Pool) -> Tensor:
    """Number of pixels that are summed over, as their weights count; `(batch or 1, 1)` or `()`."""
    if pixels.weight is not None:
        return _summation(pixels, pool)(ops.ones_like(pixels.weight))
    lengths = ops.shape(pixels.pred)[:-1] if pool == "batch" else ops.shape(pixels.pred)[1:-1]
    return ops.cast(ops.prod(ops.stack(lengths)), pixels.dtype)


def pixel_weight(pixels: Pixels, pool: Pool) -> Tensor | None:
    """How often each pixel counts in a sum, `(batch, *space, 1)`; None for once each."""
    if pool == "batch" and pixels.weight is not None and pixels.times is not None:
        return pixels.weight * pixels.times
    return pixels.weight


def per_image(values: Tensor, pixels: Pixels) -> Tensor:
    """Repeats a value that was pooled over the batch, so that there is one an image."""
    return ops.broadcast_to(values, (ops.shape(pixels.pred)[0],))


def _summation(pixels: Pixels, pool: Pool) -> Callable[[Tensor], Tensor]:
    """Weighted sum over pixels: `(batch, *space, classes)` becomes `(batch or 1, classes)`."""
    weight = pixel_weight(pixels, pool)

    def total(part: Tensor) -> Tensor:
        if weight is not None:
            part = weight * part
        if pool == "batch":
            return ops.expand_dims(ops.sum(part, axis=(0, *pixels.axes)), 0)
        return ops.sum(part, axis=pixels.axes)

    return total
