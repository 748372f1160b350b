"""The Keras contract: how a value an image and class becomes a streaming `keras.metrics.Metric`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from kerasloss.metrics import masks
from kerasloss.metrics._empty import Empty
from kerasloss.ops.pixels import Tensor


class SegmentationMetric(keras.metrics.Metric):
    """Base class of the metrics: an exact mean over a data set, whatever the size of the batches.

    A subclass sets `function` to its functional twin and passes its options to `__init__`; see
    `kerasloss.metrics.DiceScore`. What it has seen is kept in variables that are made at the first
    update, since only then the number of classes is known.

    In `compile(metrics=[...])` Keras hands no `sample_weight` to a metric; `weighted_metrics=[...]`
    does. A weight of shape `(batch,)` counts an image that often; a pixel with weight 0 is ignored.

    Args:
        name: name of the instance and of its entry in `History`; by default that of the twin.
        dtype: dtype of the result. Sums are kept in float32 with the rounding error beside them.
        **options: arguments of `function`, kept as attributes and in the config.
    """

    function: ClassVar[Callable[..., Tensor] | None] = None
    averages: ClassVar[tuple[str, ...]] = ("macro",)

    def __init__(self, *, name: str | None = None, dtype: Any = None, **options: Any) -> None:
        function = type(self).function
        super().__init__(name=name or getattr(function, "__name__", None), dtype=dtype)
        masks.check(type(self).__name__, options, type(self).averages)
        self._given_dtype = None if dtype is None else self._dtype_policy.name
        self._option_names = tuple(options)
        for option, value in options.items():
            setattr(self, option, value)
        self._labels: tuple[int, ...] | None = None
        self._sums: Any = None
        self._rounding: Any = None

    @property
    def options(self) -> dict[str, Any]:
        """The arguments for `function` and how its values are averaged."""
        return {option: getattr(self, option) for option in self._option_names}

    @property
    def skipped(self) -> dict[int | str, int]:
        """Number of images that were left out so far: for every class, or under `"all"`."""
        if self._sums is None:
            return {}
        numbers = np.rint(ops.convert_to_numpy(self._state()[-1])).astype(int)
        if self._labels is None:
            return {"all": int(numbers.max())}
        return dict(zip(self._labels, numbers.tolist(), strict=True))

    def image_values(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Returns the value of every image and class, NaN where it does not count."""
        function = type(self).function
        if function is None:
            raise TypeError(f"`{type(self).__name__}` must set `function`.")
        options = {name: value for name, value in self.options.items() if name != "pool"}
        if options.get("average") == "macro":
            options["average"] = None
        values = function(y_true, y_pred, sample_weight=sample_weight, **options)
        return values if len(values.shape) == 2 else ops.expand_dims(values, -1)

    def rows(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None) -> Tensor:
        """What is summed over the images, `(batch, rows, classes)`; NaN where it does not count."""
        values = self.image_values(y_true, y_pred, sample_weight)
        return ops.expand_dims(ops.cast(values, "float32"), 1)

    def values(self, sums: Tensor, images: Tensor) -> Tensor:
        """From sums of shape `(rows, classes)` and the number of images to a value a class."""
        return ops.where(images > 0, sums[0] / ops.where(images > 0, images, 1.0), float("nan"))

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        y_pred = ops.convert_to_tensor(y_pred)
        if _has_no_values(y_pred):
            return
        if sample_weight is not None:
            sample_weight = ops.convert_to_tensor(sample_weight)
        rows = self.rows(y_true, y_pred, sample_weight)
        counts = ops.logical_not(ops.isnan(rows[:, :1]))
        times = ops.ones_like(rows[:, :1])
        if sample_weight is not None and len(sample_weight.shape) == 1:
            times = times * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1, 1))
        left_out = ops.logical_and(ops.logical_not(counts), times > 0)
        parts = [ops.where(counts, rows, 0.0), ops.cast(counts, "float32")]
        parts = [times * part for part in parts] + [ops.cast(left_out, "float32")]
        batch = ops.sum(ops.concatenate(parts, axis=1), axis=0)
        if self._sums is None:
            self._build(int(y_pred.shape[-1]), tuple(batch.shape))
        self._add(batch)

    def _build(self, channels: int, shape: tuple[int, ...]) -> None:
        labels = masks.labels(
            type(self).__name__,
            channels,
            getattr(self, "include_background", True),
            getattr(self, "ignore_class", None),
        )
        self._labels = labels if len(labels) == shape[-1] else None
        for name in ("sums", "rounding"):
            variable = self.add_variable(
                shape=shape, initializer="zeros", dtype="float32", name=name
            )
            setattr(self, f"_{name}", variable)

    def _add(self, batch: Tensor) -> None:
        """Adds in twice the precision: a pixel still counts after a billion others."""
        sums, rounding = self._sums.value, self._rounding.value
        total = sums + batch
        part = total - sums
        lost = (sums - (total - part)) + (batch - part)
        # In this order: on torch, `sums` is the variable itself and changes with it.
        self._rounding.assign(rounding + lost)
        self._sums.assign(total)

    def _state(self) -> Tensor:
        return self._sums.value + self._rounding.value

    def result(self) -> Tensor | dict[str, Tensor]:
        """The mean over the classes, or with `average=None` a dict of one number a class.

        NaN as long as nothing has been counted.
        """
        if self._sums is None:
            nothing = ops.convert_to_tensor(float("nan"), dtype=self.dtype)
            return nothing if self.options.get("average", "macro") else {}
        state = self._state()
        images = state[-2]
        values = self.values(state[:-2], images)
        if self.options.get("average", "macro") is None and self._labels is not None:
            return {
                f"{self.name}/{label}": ops.cast(values[index], self.dtype)
                for index, label in enumerate(self._labels)
            }
        return ops.cast(masks.mean(values, ops.cast(images > 0, values.dtype)), self.dtype)

    def get_config(self) -> dict[str, Any]:
        options = {
            name: [float(entry) for entry in value] if isinstance(value, (list, tuple)) else value
            for name, value in self.options.items()
        }
        return {**options, "name": self.name, "dtype": self._given_dtype}


def _has_no_values(tensor: Tensor) -> bool:
    """Whether it is a shape alone, as in the dry run of Keras on PyTorch, where no loop can run."""
    return bool(keras.backend.backend() == "torch" and tensor.device.type == "meta")


def image_scores(
    owner: str,
    measure: Callable[[masks.Masks], Tensor],
    y_true: Tensor,
    y_pred: Tensor,
    sample_weight: Tensor | None,
    *,
    average: masks.Average,
    include_background: bool,
    threshold: float,
    empty: Empty,
    from_logits: bool,
    ignore_class: int | None,
    of_all_classes: bool = False,
) -> Tensor:
    """What every functional twin does with the options that all metrics share.

    Args:
        owner: name of the twin, for messages.
        measure: gives a value an image and class, with the policy for empty masks applied.
        y_true: as in `kerasloss.metrics.DiceScore`.
        y_pred: as in `kerasloss.metrics.DiceScore`.
        sample_weight: as in `kerasloss.metrics.DiceScore`.
        average: as in `kerasloss.metrics.DiceScore`.
        include_background: as in `kerasloss.metrics.DiceScore`.
        threshold: as in `kerasloss.metrics.DiceScore`.
        empty: as in `kerasloss.metrics.DiceScore`.
        from_logits: as in `kerasloss.metrics.DiceScore`.
        ignore_class: as in `kerasloss.metrics.DiceScore`.
        of_all_classes: whether `measure` gives one value for all classes together.
    """
    options = {
        "average": average,
        "include_background": include_background,
        "threshold": threshold,
        "empty": empty,
        "from_logits": from_logits,
        "ignore_class": ignore_class,
    }
    masks.check(owner, options)
    batch = masks.masks(
        owner,
        y_true,
        y_pred,
        sample_weight,
        threshold=threshold,
        from_logits=from_logits,
        include_background=include_background,
        ignore_class=ignore_class,
    )
    counts = batch.counted("score")[:, :1] if of_all_classes else batch.counted(empty)
    return masks.finish(measure(batch), counts, average)
