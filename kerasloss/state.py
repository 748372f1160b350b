"""What a compound remembers: its weights, past term values and running means, as a metric."""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.ops.native import across_replicas
from kerasloss.ops.pixels import Tensor
from kerasloss.weighting import LogVariances, Seen, Weighting

# Finds the state of a loaded compound when the model's metrics are loaded after its loss.
_STATES: weakref.WeakValueDictionary[str, CompoundState] = weakref.WeakValueDictionary()


@register_keras_serializable("kerasloss")
class CompoundState(keras.metrics.Metric):
    """The changing part of a `kerasloss.Compound`.

    It is a metric, because metrics are the one place where Keras carries state through a compiled
    training step on every backend. It is updated by the loss call itself; `update_state` does
    nothing. `result` gives the mean value of every term since the last reset and the current
    weights, so that both appear in `History`. A reset clears the means and nothing else.
    """

    def __init__(
        self,
        terms: Sequence[str],
        weights: Sequence[float],
        weighting: Weighting | None,
        settings: Mapping[str, Any],
        key: str | None = None,
        name: str = "compound",
    ) -> None:
        # float32 whatever the policy: these are a few numbers, and half precision loses them.
        super().__init__(name=name, dtype="float32")
        self.key = key or uuid.uuid4().hex
        _STATES[self.key] = self
        self.terms = tuple(terms)
        self.weighting = weighting
        # Whether somebody has put it among a model's metrics, as far as can be known.
        self.listed = False
        # Whether the callback has put it there, which also switches `training`.
        self.carried = False
        # The callbacks that were told about the model, until they begin.
        self.callbacks: list[weakref.ref[Any]] = []
        # Whether it was loaded and has not trained since.
        self.at_rest = False
        # The layer of the model that holds what the strategy learns. Not by itself: Keras would
        # save it as a part of this metric, too.
        self._learned: weakref.ref[LogVariances] | None = None
        self._count = len(weights)
        self._remembered = (
            {} if weighting is None else weighting.memory_for(self.terms[: self._count])
        )
        self.weights_now = self._variable("weights", np.asarray(weights, "float32"))
        self.weights_start = self._variable("starting_weights", np.asarray(weights, "float32"))
        self.memory = {
            name: self._variable(f"memory_{name}", np.asarray(value, "float32"))
            for name, value in sorted(self._remembered.items())
        }
        self.step = self._variable("step", np.zeros((), "int32"))
        # How often the strategy has been asked: every training step, or every epoch.
        self.updates = self._variable("updates", np.zeros((), "int32"))
        # Sums over the epoch so far, for a strategy that follows epochs; whether a new one begins.
        shown = 2 * self._count if weighting and weighting.sees_gradients else self._count
        self.period = self._variable("period", np.zeros((shown + 1,), "float32"))
        self.begins = self._variable("begins", np.ones((), "float32"))
        # How many training steps had a term that was NaN or infinite.
        self.skipped = self._variable("skipped", np.zeros((), "float32"))
        # A variable of the user's own is tracked as it is, so that it takes effect on JAX too.
        self.settings: dict[str, keras.Variable] = {
            setting: value
            if _check.is_variable(value)
            else self._variable(setting.replace("/", "_"), np.asarray(value, "float32"))
            for setting, value in settings.items()
        }
        self.sums = self._variable("sums", np.zeros((len(terms),), "float32"))
        self.images = self._variable("images", np.zeros((), "float32"))
        # 1 while the model trains. Not saved: a loaded model is not in the middle of a step.
        self.training = self._variable("training", np.ones((), "float32"))

    def _variable(self, name: str, value: np.ndarray) -> keras.Variable:
        def initial(shape: Any, dtype: Any = None) -> Tensor:
            return ops.convert_to_tensor(value, dtype=dtype)

        return self.add_variable(
            shape=value.shape,
            initializer=initial,
            dtype=str(value.dtype),
            # All replicas hold the same.
            aggregation="only_first_replica",
            name=name,
        )

    @property
    def saved_variables(self) -> list[keras.Variable]:
        """What has to survive: weights, memory, step count and hyper-parameters."""
        return [
            self.weights_now,
            self.weights_start,
            *self.memory.values(),
            self.step,
            self.updates,
            self.period,
            self.begins,
            self.skipped,
            *self.settings.values(),
        ]

    def auxiliary_weight(self) -> Tensor:
        """`auxiliary_scale * exp(-auxiliary_decay * step)`."""
        elapsed = ops.cast(self.step.value, "float32")
        scale, decay = self.settings["auxiliary_scale"], self.settings["auxiliary_decay"]
        return scale.value * ops.exp(-decay.value * elapsed)

    def learn_with(self, layer: LogVariances) -> None:
        """Has the strategy learn with this layer from now on."""
        self._learned = weakref.ref(layer)

    @property
    def can_learn(self) -> bool:
        """Whether there is a layer to learn with, where the strategy needs one."""
        return self.weighting is None or not self.weighting.learns or self._layer() is not None

    def _layer(self) -> LogVariances | None:
        return None if self._learned is None else self._learned()

    def _memory(self) -> dict[str, Tensor]:
        layer = self._layer()
        if layer is None:
            return {name: variable.value for name, variable in self.memory.items()}
        return {"log_variances": layer.of(self.terms[: self._count])}

    def penalty(self) -> Tensor | None:
        """What a strategy that learns adds to the loss."""
        if self.weighting is None or not self.weighting.learns:
            return None
        return self.weighting.penalty(self._seen(self.sums.value), self._memory())

    def advance(self, values: Tensor, images: Tensor, gradients: Tensor | None = None) -> Tensor:
        """Takes in the mean value of every term over one batch; returns the weights to use.

        Memory, step count and weights move in training only, and not when a value is NaN or
        infinite.

        Args:
            values: the values of all terms, the auxiliary one included.
            images: number of images in the batch.
            gradients: norms of their gradients, for a strategy that sees them.
        """
        values = ops.cast(ops.stop_gradient(values), "float32")
        if gradients is not None:
            values = ops.concatenate([values, gradients], axis=0)
        images = ops.cast(images, "float32")
        totals = ops.concatenate([images * values, ops.expand_dims(images, 0)], axis=0)
        # All replicas see the same and do the same: none has to write to another's variables.
        totals = across_replicas(totals)
        images = totals[-1]
        values = totals[:-1] / ops.maximum(images, 1.0)
        logged = len(self.terms)
        self.sums.assign(self.sums.value + totals[:logged])
        self.images.assign(self.images.value + images)
        weights = self.weights_now.value
        if self.weighting is None:
            self.step.assign(self.step.value + ops.cast(self.training.value, "int32"))
            return weights
        # Without the auxiliary loss, which has no share in the weighting.
        series = ops.concatenate([values[: self._count], values[logged:]], axis=0)
        trains, finite = self.training.value > 0.5, ops.all(ops.isfinite(series))
        counts = ops.logical_and(trains, finite)
        failed = ops.logical_and(trains, ops.logical_not(finite))
        self.skipped.assign(self.skipped.value + ops.cast(failed, "float32"))
        self.step.assign(self.step.value + ops.cast(counts, "int32"))
        if self.weighting.every == "batch":
            return self._update(self.weighting, series, counts)
        period = self.period.value
        due = ops.logical_and(trains, self.begins.value > 0.5)
        if self.weighting.looks_back:
            due = ops.logical_and(due, period[-1] > 0)
        weights = self._update(self.weighting, period[:-1] / ops.maximum(period[-1], 1.0), due)
        seen = images * ops.concatenate([series, ops.ones((1,), "float32")])
        period = ops.where(due, 0.0, period) + ops.where(counts, seen, 0.0)
        self.period.assign(period)
        self.begins.assign(ops.where(trains, 0.0, self.begins.value))
        return weights

    def _update(self, weighting: Weighting, values: Tensor, due: Tensor) -> Tensor:
        """Lets the strategy see values if they are due; returns the weights from then on."""
        self.updates.assign(self.updates.value + ops.cast(due, "int32"))
        seen = self._seen(values)
        moved, memory = weighting.advance(seen, self._memory())
        for name, variable in self.memory.items():
            new = ops.stop_gradient(memory[name])
            variable.assign(ops.where(due, new, variable.value))
        weights = ops.where(due, ops.stop_gradient(moved), seen.weights)
        self.weights_now.assign(weights)
        # What is learned holds at once, and when nothing trains as well.
        return moved if weighting.learns else weights

    def _seen(self, values: Tensor) -> Seen:
        return Seen(
            self.terms[: self._count],
            values[: self._count],
            self.updates.value,
            self.weights_now.value,
            self.weights_start.value,
            values[self._count :] if self.weighting and self.weighting.sees_gradients else None,
        )

    def restart(self) -> None:
        """Back to the starting weights, with an empty memory."""
        # Through NumPy: two variables that share a buffer cannot both be donated to a step on JAX.
        self.weights_now.assign(ops.convert_to_numpy(self.weights_start.value))
        for name, variable in self.memory.items():
            variable.assign(np.asarray(self._remembered[name], "float32"))
        for variable in (
            *(self.step, self.updates, self.period, self.skipped),
            *(self.sums, self.images),
        ):
            variable.assign(ops.zeros_like(variable.value))
        self.begins.assign(1.0)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: the loss call has done it."""

    def reset_state(self) -> None:
        self.sums.assign(ops.zeros_like(self.sums.value))
        self.images.assign(ops.zeros_like(self.images.value))
        if not self.carried:
            self.begins.assign(1.0)

    def result(self) -> dict[str, Tensor]:
        means = self.sums.value / ops.maximum(self.images.value, 1.0)
        # A tensor of its own: on torch the variable's changes with the next step.
        weights = self.weights_now.value + 0.0
        logs = {term: means[index] for index, term in enumerate(self.terms)}
        for index in range(weights.shape[0]):
            logs[f"weight/{self.terms[index]}"] = weights[index]
        if "auxiliary_scale" in self.settings:
            logs[f"weight/{self.terms[-1]}"] = self.auxiliary_weight()
        return logs

    def save_own_variables(self, store: Any) -> None:
        if self._layer() is not None:
            # The optimizer has moved them since the last step was remembered.
            for name, value in self._memory().items():
                self.memory[name].assign(ops.stop_gradient(value))
        for index, variable in enumerate(self.saved_variables):
            store[str(index)] = ops.convert_to_numpy(variable.value)

    def load_own_variables(self, store: Any) -> None:
        variables = self.saved_variables
        shapes = [tuple(store[str(index)].shape) for index in range(len(store.keys()))]
        if shapes != [tuple(variable.shape) for variable in variables]:
            raise _check.error(
                self.name,
                "a saved state with the same terms and the same memory",
                f"arrays of shapes {shapes}",
            )
        for index, variable in enumerate(variables):
            variable.assign(store[str(index)])
        # Nothing trains yet: until it does, a loaded compound may be evaluated as it is.
        self.at_rest = not self.listed
        self.training.assign(1.0 if self.listed else 0.0)

    def get_config(self) -> dict[str, Any]:
        return {"key": self.key}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CompoundState:
        state = _STATES.get(config["key"])
        if state is None:
            raise _check.error(
                "CompoundState", "the compound that owns it to be loaded first", str(config)
            )
        state.listed = True
        return state
