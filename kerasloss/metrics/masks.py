"""From what the user passes to a yes or no for every pixel and class."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from keras import ops

from kerasloss import _check
from kerasloss.metrics import _empty
from kerasloss.ops.pixels import Tensor, prepare

Average = Literal["macro"] | None


class Masks(NamedTuple):
    """One batch: `truth` and `predicted` are boolean, shape `(batch, *space, classes)`.

    `weight` has shape `(batch, *space, 1)` and is 0 where a pixel is ignored; None stands for 1
    everywhere.
    """

    truth: Tensor
    predicted: Tensor
    weight: Tensor | None

    @property
    def space(self) -> tuple[int, ...]:
        """Sizes of the space axes."""
        return tuple(self.truth.shape)[1:-1]

    def total(self, mask: Tensor) -> Tensor:
        """Weighted number of pixels of a mask, shape `(batch, classes)`."""
        numbers = ops.cast(mask, "float32")
        if self.weight is not None:
            numbers = numbers * ops.cast(self.weight, "float32")
        return ops.sum(numbers, axis=tuple(range(1, len(self.truth.shape) - 1)))

    def without_ignored(self) -> Masks:
        """The same with every ignored pixel outside of both masks."""
        if self.weight is None:
            return self
        counts = self.weight > 0
        truth, predicted = (ops.logical_and(mask, counts) for mask in self[:2])
        return Masks(truth, predicted, self.weight)

    def counted(self, empty: _empty.Empty) -> Tensor:
        """Which images and classes count, boolean, shape `(batch, classes)`."""
        present = self.total(self.truth) > 0
        everywhere = ops.ones_like(self.truth[..., :1])
        return _empty.counted(present, self.total(everywhere) > 0, empty)

    def one_by_one(self) -> tuple[Tensor, Tensor]:
        """`truth` and `predicted` with one mask an entry, shape `(batch * classes, *space)`."""
        truth, predicted = (
            ops.reshape(ops.moveaxis(mask, -1, 1), (-1, *self.space)) for mask in self[:2]
        )
        return truth, predicted


def labels(
    owner: str, channels: int, include_background: bool, ignore_class: int | None
) -> tuple[int, ...]:
    """The classes that are scored: never the ignored one, the background only if asked for."""
    first = 0 if include_background else 1
    scored = tuple(label for label in range(first, max(2, channels)) if label != ignore_class)
    if not scored:
        raise _check.error(
            owner,
            "a class to score",
            f"{channels} channel(s), ignore_class={ignore_class}",
            "Pass `include_background=True` or ignore another class.",
        )
    return scored


def masks(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    sample_weight: Tensor | None = None,
    *,
    threshold: float = 0.5,
    from_logits: bool = False,
    include_background: bool = False,
    ignore_class: int | None = None,
) -> Masks:
    """Takes the likelier class of every pixel, in target and prediction.

    Raises:
        ValueError: if the shapes do not fit each other, or no class is left to score.
    """
    pixels = prepare(
        owner, y_true, y_pred, sample_weight, from_logits=from_logits, ignore_class=ignore_class
    )
    scored = labels(owner, pixels.channels, include_background, ignore_class)
    if pixels.channels == 1:
        truth, predicted = pixels.target > 0.5, pixels.probability() > threshold
        truth, predicted = (
            ops.concatenate([ops.logical_not(mask), mask], axis=-1) for mask in (truth, predicted)
        )
        first, last = scored[0], scored[-1] + 1
        return Masks(truth[..., first:last], predicted[..., first:last], pixels.weight)
    # A pixel without any class, such as a label that does not exist, stays without.
    target = ops.where(ops.any(pixels.target > 0, axis=-1), ops.argmax(pixels.target, axis=-1), -1)
    likeliest = ops.argmax(pixels.pred, axis=-1)
    numbers = ops.convert_to_tensor(np.array(scored, "int32"))
    truth, predicted = (
        ops.expand_dims(ops.cast(index, "int32"), -1) == numbers for index in (target, likeliest)
    )
    return Masks(truth, predicted, pixels.weight)


def finish(values: Tensor, counts: Tensor, average: Average) -> Tensor:
    """One value an image and class, NaN where it does not count; or their mean over the classes."""
    if average is None:
        return ops.where(counts, values, float("nan"))
    return mean(values, ops.cast(counts, values.dtype))


def mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over the last axis; NaN where nothing has weight."""
    total = ops.sum(weight, axis=-1)
    summed = ops.sum(ops.where(weight > 0, values * weight, 0.0), axis=-1)
    return ops.where(total > 0, summed / ops.where(total > 0, total, 1.0), float("nan"))


def check(owner: str, options: dict[str, Any], averages: tuple[str, ...] = ("macro",)) -> None:
    """Checks every option that several metrics share; one word means one thing everywhere."""
    for name, value in options.items():
        if name == "threshold":
            _check.number(owner, name, value, minimum=0.0, maximum=1.0)
        elif name == "average" and value is not None:
            _check.choice(owner, name, value, averages)
        elif name == "empty":
            _check.choice(owner, name, value, ("score", "skip"))
        elif name == "pool":
            _check.choice(owner, name, value, ("image", "dataset"))
        elif name in ("from_logits", "include_background", "absolute"):
            _check.boolean(owner, name, value)
        elif name == "ignore_class":
            _check.ignore_class(owner, value)
