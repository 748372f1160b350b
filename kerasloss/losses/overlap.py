"""What the losses on overlap share: the share of errors among the counts, class by class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from kerasloss.losses.base import class_mean
from kerasloss.ops.counts import Form, Pool, per_image, soft_counts
from kerasloss.ops.pixels import Pixels, Tensor, divide


def overlap_loss(
    owner: str,
    pixels: Pixels,
    pool: Pool,
    class_weight: Any,
    *,
    alpha: Any,
    beta: Any,
    smooth: Any,
    form: Form = "product",
    curve: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Class mean of `1 - (TP + s) / (TP + alpha FP + beta FN + s)`, one value an image.

    Dice (both 1/2, with half the smooth) and IoU (both 1) are special cases.

    Args:
        owner: who complains about a wrong class weight.
        pixels: the batch.
        pool: as in `kerasloss.Dice`.
        class_weight: as in `kerasloss.Dice`.
        alpha: weight of false positives.
        beta: weight of false negatives.
        smooth: the constant s.
        form: what the counts are for soft values, as in `soft_counts`.
        curve: what the loss of each class goes through before the mean; None to leave it.
    """
    counts = soft_counts(pixels, pool, every_class=class_weight is not None, form=form)
    alpha, beta, smooth = (
        float(value) if isinstance(value, int | float) else ops.cast(value, pixels.dtype)
        for value in (alpha, beta, smooth)
    )
    # The error over the whole, not 1 - index: no cancellation where the index is close to 1.
    error = alpha * counts.false_alarm + beta * counts.miss
    whole = counts.hit + error + smooth
    never_empty = isinstance(smooth, float) and smooth > 0
    loss = error / whole if never_empty else divide(error, whole)
    if curve is not None:
        loss = curve(loss)
    return per_image(class_mean(loss, class_weight, owner), pixels)


def count_form(*, squared: bool = False, soft_labels: bool = False) -> Form:
    """The form of the counts that two options of a loss ask for.

    Squared sums need no other form for soft targets: (|p|^2 + |y|^2 - |p - y|^2) / 2 is sum(p y).
    """
    if squared:
        return "squared"
    return "absolute" if soft_labels else "product"
