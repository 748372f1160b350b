"""The Keras contract: how a formula over pixels becomes a `keras.losses.Loss`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from kerasloss import _check
from kerasloss.ops.pixels import Pixels, Tensor, accumulation_dtype, divide, image_weight, prepare


class SegmentationLoss(keras.losses.Loss):
    """Base class of the losses: one value an image, pixel weights inside the sums.

    Losses can be added and multiplied by positive numbers: `0.5 * Dice() + Focal()` is a
    `kerasloss.Compound` of both. `sum` adds up a list of them.

    A subclass for one formula sets `function` to its functional twin and passes its options to
    `__init__`; see `kerasloss.losses.Dice`. A subclass of another kind overrides `values`. The
    class attribute `reference` may hold the BibTeX that `kerasloss.citation` gives.

    Args:
        reduction: `"sum_over_batch_size"` (or its synonyms `"mean"`, `"mean_with_sample_weight"`):
            mean over the images; `"sum"`; or `"none"` for one value an image. In a mean, a
            `sample_weight` of shape `(batch,)` counts an image that often, and an image without
            any counted pixel does not count.
        name: name of the instance; by default that of the functional twin.
        dtype: dtype of the result, as in `keras.losses.Loss`. Sums are accumulated in float32 or
            wider, whatever it is.
        **options: arguments of `function`, kept as attributes and in the config.
    """

    function: ClassVar[Callable[..., Tensor] | None] = None
    tunable: ClassVar[tuple[str, ...]] = ()
    reference: ClassVar[str] = ""
    # Makes NumPy's numbers leave `number * loss` to the loss.
    __array_ufunc__ = None
    # Whether one channel of logits is judged by its margin: then it is not the same loss as that of
    # the probabilities.
    margin: ClassVar[bool] = False
    # Whether every channel is a sigmoid of its own, however many there are.
    independent: ClassVar[bool] = False

    def __init__(
        self,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        function = type(self).function
        super().__init__(
            name=name or getattr(function, "__name__", None), reduction=reduction, dtype=dtype
        )
        _check.options(type(self).__name__, options)
        self._given_dtype = None if dtype is None else self._dtype_policy.name
        self._option_names = tuple(options)
        for option, value in options.items():
            setattr(self, option, value)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments for `function`, as they are now."""
        return {option: getattr(self, option) for option in self._option_names}

    # No property: Keras follows attributes when it saves, and this one would lead it in circles.
    def tuned(self) -> SegmentationLoss:
        """Returns the loss that has the options in `tunable`: a wrapper gives the one it wraps."""
        return self

    def values(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Returns the loss of every image, shape `(batch,)`, before any reduction."""
        function = type(self).function
        if function is None:
            raise TypeError(f"`{type(self).__name__}` must set `function` or override `values`.")
        return function(y_true, y_pred, sample_weight=sample_weight, **self.options)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return self.values(y_true, y_pred)

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        values = self.values(y_true, y_pred, sample_weight)
        weight = self.image_weight(y_true, y_pred, sample_weight)
        return reduce_images(values, weight, self.reduction, self.dtype)

    def image_weight(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor | None:
        """How often each image counts in a mean over the batch, or None for once each."""
        ignore_class = getattr(self, "ignore_class", None)
        if sample_weight is None and ignore_class is None:
            return None
        pixels = prepare(
            type(self).__name__, y_true, y_pred, sample_weight, ignore_class=ignore_class
        )
        return image_weight(sample_weight, pixels)

    # A sum is a compound, and that is built on this class: hence the imports when it is asked for.

    def __add__(self, other: Any) -> SegmentationLoss:
        from kerasloss import algebra

        return algebra.add(self, other)

    def __radd__(self, other: Any) -> SegmentationLoss:
        from kerasloss import algebra

        return algebra.add(other, self)

    def __mul__(self, factor: Any) -> SegmentationLoss:
        from kerasloss import algebra

        return algebra.multiply(self, factor)

    __rmul__ = __mul__

    def get_config(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            option: float(ops.convert_to_numpy(value.value)) if _check.is_variable(value) else value
            for option, value in self.options.items()
        }
        weights = options.get("class_weight")
        if weights is not None:
            options["class_weight"] = [float(weight) for weight in weights]
        return {**options, **super().get_config(), "dtype": self._given_dtype}


class _Value(keras.losses.Loss):
    """Hands a value to the reduction of Keras, which divides it by the number of replicas."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_pred


def reduce_images(
    values: Tensor, weight: Tensor | None, reduction: str | None, dtype: Any
) -> Tensor:
    """Reduces one value an image to what `reduction` asks for.

    Args:
        values: shape `(batch,)`.
        weight: how often each image counts, shape `(batch,)`; None for once each.
        reduction: as in `SegmentationLoss`.
        dtype: dtype of the result.
    """
    if reduction in (None, "none"):
        return ops.cast(values, dtype)
    if reduction == "sum":
        value = ops.sum(values if weight is None else values * weight)
    else:
        value = mean_of_images(values, weight)
    if keras.backend.backend() == "tensorflow":
        # Named, because `tf.function` refuses the scope that Keras would name after the class.
        reducer = _Value(name="value", reduction=reduction, dtype=accumulation_dtype(values.dtype))
        value = ops.expand_dims(value, 0)  # a scalar would stay as it is
        value = reducer(value, value)
    return ops.cast(value, dtype)


def mean_of_images(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of one value an image, each counted as often as its weight says."""
    if weight is None:
        return ops.mean(values)
    return divide(ops.sum(values * weight), ops.sum(weight))


def class_mean(values: Tensor, class_weight: Any, owner: str) -> Tensor:
    """Mean over the last axis (the classes), weighted by `class_weight` and divided by its sum."""
    if class_weight is None:
        return ops.mean(values, axis=-1)
    _check.class_weight(owner, class_weight, int(values.shape[-1]))
    return ops.sum(values * ops.cast(scaled(class_weight), values.dtype), axis=-1) / len(
        class_weight
    )


def scaled(class_weight: Any) -> list[float]:
    """Class weights scaled to a mean of 1, so that equal weights change nothing."""
    total = sum(float(weight) for weight in class_weight)
    return [float(weight) * len(class_weight) / total for weight in class_weight]


def class_factors(pixels: Pixels, class_weight: Any, owner: str) -> list[float] | None:
    """The scaled class weights of a loss that is a sum over pixels, or None."""
    if class_weight is None:
        return None
    _check.class_weight(owner, class_weight, pixels.num_classes)
    return scaled(class_weight)
