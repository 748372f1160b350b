"""Soft counts of true positives, false positives and false negatives: what overlap means here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from keras import ops

from kerasloss.ops.parts import Part, first, parts
from kerasloss.ops.pixels import Pixels, Tensor, magnitude
from kerasloss.ops.sums import space_sum

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
    total = _summation(pixels, pool)
    if pixels.channels == 1 and every_class:
        return _both_classes(pixels, total, form)
    counts = [_count(part, total, form) for part in parts(pixels, background=False)]
    return Counts(*(ops.concatenate(column, axis=-1) for column in zip(*counts, strict=True)))


def _count(part: Part, total: Callable[[Tensor], Tensor], form: Form) -> Counts:
    """Soft counts of the classes of one part."""
    target, probability = part.target, part.probability
    if form == "squared":
        error = 0.5 * total(ops.square(probability - target))
        return Counts(total(target * probability), error, error)
    if form == "absolute":
        # Not by minimum and maximum: each backend has its own gradient for them at p = y.
        difference = total(magnitude(probability - target))
        predicted, positive = total(probability), total(target)
        excess = predicted - positive
        hit = 0.5 * (predicted + positive - difference)
        return Counts(hit, 0.5 * (difference + excess), 0.5 * (difference - excess))
    hit = total(target * probability)
    return Counts(hit, total(probability) - hit, total(target) - hit)


def _both_classes(pixels: Pixels, total: Callable[[Tensor], Tensor], form: Form) -> Counts:
    """Soft counts of background and foreground of a sigmoid channel.

    The background's errors are those of the foreground, the other way round. What is counted of a
    class is a sum over its own pixels: an absent background must not seem to have a size.
    """
    (foreground,) = parts(pixels, background=False)
    target, probability = foreground.target, foreground.probability
    if form == "product":
        outside = 1.0 - target
        false_alarm, hit = total(outside * probability), total(target * probability)
        rejection, miss = total(outside) - false_alarm, total(target) - hit
    else:
        hit, false_alarm, miss = _count(foreground, total, form)
        if form == "squared":
            rejection = total((1.0 - target) * (1.0 - probability))
        else:
            largest = target + probability + magnitude(probability - target)
            rejection = total(1.0 - 0.5 * largest)
    return Counts(
        ops.concatenate([rejection, hit], axis=-1),
        ops.concatenate([miss, false_alarm], axis=-1),
        ops.concatenate([false_alarm, miss], axis=-1),
    )


def pixel_count(pixels: Pixels, pool: Pool) -> Tensor:
    """Number of pixels that are summed over, as their weights count; `(batch or 1, 1)` or `()`."""
    if pixels.weight is not None:
        return _summation(pixels, pool)(ops.ones_like(first(pixels.weight)))
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
    """Weighted sum over pixels: `(batch, classes, *space)` becomes `(batch or 1, classes)`."""
    weight = pixel_weight(pixels, pool)
    weight = None if weight is None else first(weight)

    def total(part: Tensor) -> Tensor:
        summed = space_sum(part if weight is None else weight * part)
        return ops.sum(summed, axis=0, keepdims=True) if pool == "batch" else summed

    return total
