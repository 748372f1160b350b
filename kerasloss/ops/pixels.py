"""From what the user passes (`y_true`, `y_pred`, `sample_weight`) to what a formula needs."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from kerasloss import _check
from kerasloss.ops.placement import is_eager

# Below this a probability is taken for this value before its logarithm; the same as in Keras.
EPSILON = 1e-7

Tensor = Any


class Pixels(NamedTuple):
    """One batch in the form that every formula of the package starts from.

    `target` and `pred` have shape `(batch, *space, channels)` and the same float dtype, float32 or
    wider. `weight` has shape `(batch, *space, 1)` and is 0 where a pixel is ignored; None stands
    for 1 everywhere. `times` is how often an image counts, shape `(batch, 1, ..., 1)`: a matter of
    sums over the batch, while inside one image it would only shift the balance with `smooth`.
    `hard` says that every target is known to be 0 or 1, and 1 for at most one class; `labels`, of
    shape `(batch, *space)`, which class that is, if there are several channels. One channel is the
    foreground of a two-class problem.
    """

    target: Tensor
    pred: Tensor
    from_logits: bool
    weight: Tensor | None
    times: Tensor | None = None
    hard: bool = False
    labels: Tensor | None = None

    @property
    def channels(self) -> int:
        """Number of channels of the prediction."""
        return int(self.pred.shape[-1])

    @property
    def num_classes(self) -> int:
        """Number of classes: two for one sigmoid channel."""
        return max(2, self.channels)

    @property
    def axes(self) -> tuple[int, ...]:
        """The space axes."""
        return tuple(range(1, len(self.pred.shape) - 1))

    @property
    def dtype(self) -> str:
        """The dtype that sums are accumulated in."""
        return str(keras.backend.standardize_dtype(self.pred.dtype))

    def probability(self) -> Tensor:
        """The predicted probabilities."""
        if not self.from_logits:
            return self.pred
        if self.channels == 1:
            return ops.sigmoid(self.pred)
        if not is_eager():
            return ops.softmax(self.pred, axis=-1)
        # On few channels PyTorch's kernel for the last axis takes several times as long.
        return ops.moveaxis(ops.softmax(ops.moveaxis(self.pred, -1, 1), axis=1), 1, -1)

    def smoothed(self, label_smoothing: Any) -> Pixels:
        """The same pixels with the target `(1 - s) * y + s / classes`."""
        if not _check.is_variable(label_smoothing) and label_smoothing == 0:
            return self
        smoothing = ops.cast(label_smoothing, self.dtype)
        target = (1.0 - smoothing) * self.target + smoothing / self.num_classes
        return self._replace(target=target, hard=False, labels=None)

    def classes(self) -> tuple[Tensor, Tensor]:
        """Target and probability with one channel a class (a sigmoid channel becomes two)."""
        probability = self.probability()
        if self.channels > 1:
            return self.target, probability
        return (
            ops.concatenate([1.0 - self.target, self.target], axis=-1),
            ops.concatenate([1.0 - probability, probability], axis=-1),
        )


def divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient that is 0, with gradient 0, where the denominator is 0."""
    empty = denominator == 0
    return ops.where(empty, 0.0, numerator / ops.where(empty, 1.0, denominator))


def magnitude(value: Tensor) -> Tensor:
    """Absolute value with gradient 0 at 0, where `ops.abs` has 1 on JAX and 0 elsewhere."""
    return value * ops.stop_gradient(ops.sign(value))


def prepare(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    sample_weight: Tensor | None = None,
    *,
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Pixels:
    """Checks shapes, turns labels into one-hot targets and merges weights with ignored pixels.

    Raises:
        ValueError: if the shapes do not fit each other; the message shows both.
    """
    pred = ops.convert_to_tensor(y_pred)
    dtype = accumulation_dtype(pred.dtype)
    pred = ops.cast(pred, dtype)
    rank = len(pred.shape)
    if not 3 <= rank <= 5 or pred.shape[-1] is None:
        raise _check.error(
            owner,
            "`y_pred` of shape (batch, *space, classes) with one to three space axes",
            f"shape {_shape(pred)}",
            "Add a last axis of size 1 for a single sigmoid channel.",
        )
    true = ops.convert_to_tensor(y_true)
    target, ignored, labels = _target(owner, true, pred, ignore_class)
    hard = labels is not None or (pred.shape[-1] == 1 and "float" not in str(true.dtype))
    weight = None if ignored is None else 1.0 - ops.cast(ignored, dtype)
    times = None
    if sample_weight is not None:
        sample_weight = ops.convert_to_tensor(sample_weight)
        given = _pixel_weight(owner, sample_weight, pred)
        if len(sample_weight.shape) == 1:
            times, given = given, ops.cast(given > 0, dtype)
        weight = given if weight is None else weight * given
    if weight is not None:
        weight = ops.broadcast_to(weight, (*ops.shape(pred)[:-1], 1))
    return Pixels(target, pred, bool(from_logits), weight, times, hard, labels)


def image_weight(sample_weight: Tensor | None, pixels: Pixels) -> Tensor:
    """How often each image counts in the mean over the batch; shape `(batch,)`.

    A weight per image counts the image that often. An image without a single counted pixel does
    not count.
    """
    batch = ops.shape(pixels.pred)[0]
    if pixels.weight is None:
        return ops.ones((batch,), dtype=pixels.dtype)
    axes = (*pixels.axes, len(pixels.pred.shape) - 1)
    counted = ops.cast(ops.any(pixels.weight > 0, axis=axes), pixels.dtype)
    if sample_weight is not None:
        given = ops.cast(ops.convert_to_tensor(sample_weight), pixels.dtype)
        if len(given.shape) == 1:
            return counted * given
    return counted


def accumulation_dtype(dtype: Any) -> str:
    """float64 stays; everything else is summed in float32."""
    return "float64" if keras.backend.standardize_dtype(dtype) == "float64" else "float32"


def _target(
    owner: str, true: Tensor, pred: Tensor, ignore_class: int | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The target with the shape of `pred`, where it is ignored, and the labels if it has any."""
    dtype, channels = pred.dtype, int(pred.shape[-1])
    same = len(true.shape) == len(pred.shape) and true.shape[-1] == channels
    labels = len(true.shape) == len(pred.shape) - 1
    if not labels and not same and not (len(true.shape) == len(pred.shape) and true.shape[-1] == 1):
        raise _mismatch(owner, true, pred)
    came = true
    if labels:
        true = ops.expand_dims(true, -1)
    for given, expected in zip(tuple(true.shape)[:-1], tuple(pred.shape)[:-1], strict=True):
        if given is not None and expected is not None and given != expected:
            raise _mismatch(owner, came, pred)
    if same and channels > 1:
        if ignore_class is None:
            return ops.cast(true, dtype), None, None
        if not 0 <= ignore_class < channels:
            raise _check.error(
                owner,
                f"`ignore_class` between 0 and {channels - 1} for one-hot targets",
                f"ignore_class={ignore_class}",
                "A label outside the classes can only be ignored in integer label targets.",
            )
        return ops.cast(true, dtype), true[..., ignore_class : ignore_class + 1] > 0.5, None
    # Compared as floats: cast to an unsigned label dtype, -1 would silently become 255.
    ignored = None if ignore_class is None else ops.cast(true, dtype) == float(ignore_class)
    if channels == 1:
        target = ops.cast(true, dtype)
        if ignored is not None:
            target = ops.where(ignored, 0.0, target)
        return target, ignored, None
    labels = ops.squeeze(ops.cast(true, "int32"), -1)
    # The classes before the pixels at first: comparisons along a short last axis are slow.
    classes = ops.reshape(ops.arange(channels, dtype="int32"), (-1,) + (1,) * (len(pred.shape) - 2))
    one_hot = ops.cast(ops.expand_dims(labels, 1) == classes, dtype)
    return ops.moveaxis(one_hot, 1, -1), ignored, labels


def _pixel_weight(owner: str, sample_weight: Tensor, pred: Tensor) -> Tensor:
    """`sample_weight` in a shape that broadcasts against `(batch, *space, 1)`."""
    weight = ops.cast(ops.convert_to_tensor(sample_weight), pred.dtype)
    shape, space = tuple(weight.shape), tuple(pred.shape)[:-1]
    if len(shape) == len(space) + 1 and shape[-1] == 1:
        shape, weight = shape[:-1], ops.squeeze(weight, -1)
    fits = len(shape) in (1, len(space)) and all(
        given == expected or given is None or expected is None
        for given, expected in zip(shape, space, strict=False)
    )
    if not fits:
        raise _check.error(
            owner,
            "`sample_weight` of shape (batch,), (batch, *space) or (batch, *space, 1)",
            f"shape {_shape(sample_weight)} for `y_pred` of shape {_shape(pred)}",
        )
    extra = len(space) + 1 - len(shape)
    return ops.reshape(weight, (*ops.shape(weight), *([1] * extra)))


def _mismatch(owner: str, true: Tensor, pred: Tensor) -> ValueError:
    return _check.error(
        owner,
        "`y_true` of the shape of `y_pred` (one-hot) or integer labels (batch, *space[, 1])",
        f"y_true {_shape(true)}, y_pred {_shape(pred)}",
    )


def _shape(tensor: Tensor) -> tuple[Any, ...]:
    return tuple(getattr(tensor, "shape", ()))
