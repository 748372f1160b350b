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
from kerasloss.ops.pixels import Tensor
from kerasloss.weighting import Weighting

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
        # Whether it was loaded and has not trained since.
        self.at_rest = False
        rows = 1 if weighting is None else weighting.memory
        count = len(weights)
        self.weights_now = self._variable("weights", np.asarray(weights, "float32"))
        self.weights_start = self._variable("starting_weights", np.asarray(weights, "float32"))
        self.memory = self._variable("memory", np.zeros((rows, count), "float32"))
        self.step = self._variable("step", np.zeros((), "int32"))
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
            shape=value.shape, initializer=initial, dtype=str(value.dtype), name=name
        )

    @property
    def saved_variables(self) -> list[keras.Variable]:
        """What has to survive: weights, memory, step count and hyper-parameters."""
        return [
            self.weights_now,
            self.weights_start,
            self.memory,
            self.step,
            *self.settings.values(),
        ]

    def auxiliary_weight(self) -> Tensor:
        """`auxiliary_scale * exp(-auxiliary_decay * step)`."""
        elapsed = ops.cast(self.step.value, "float32")
        scale, decay = self.settings["auxiliary_scale"], self.settings["auxiliary_decay"]
        return scale.value * ops.exp(-decay.value * elapsed)

    def advance(self, values: Tensor, images: Tensor) -> Tensor:
        """Takes in the mean value of every term over one batch; returns the weights to use.

        Memory, step count and weights move in training only, and not when a value is NaN or
        infinite.
        """
        values = ops.cast(ops.stop_gradient(values), "float32")
        images = ops.cast(images, "float32")
        self.sums.assign(self.sums.value + images * values)
        self.images.assign(self.images.value + images)
        weights, memory, step = self.weights_now.value, self.memory.value, self.step.value
        if self.weighting is None:
            self.step.assign(step + ops.cast(self.training.value, "int32"))
            return weights
        series = values[: memory.shape[1]]
        moves = ops.logical_and(self.training.value > 0.5, ops.all(ops.isfinite(series)))
        history = ops.concatenate([memory[1:], ops.expand_dims(series, 0)], axis=0)
        history = ops.where(moves, history, memory)
        step = step + ops.cast(moves, "int32")
        active = ops.cast(self.weights_start.value > 0, "float32")
        moved = self.weighting.update(history, step, weights, active)
        weights = ops.where(moves, moved, weights)
        self.memory.assign(history)
        self.step.assign(step)
        self.weights_now.assign(weights)
        return weights

    def restart(self) -> None:
        """Back to the starting weights, with an empty memory."""
        # Through NumPy: two variables that share a buffer cannot both be donated to a step on JAX.
        self.weights_now.assign(ops.convert_to_numpy(self.weights_start.value))
        for variable in (self.memory, self.step, self.sums, self.images):
            variable.assign(ops.zeros_like(variable.value))

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: the loss call has done it."""

    def reset_state(self) -> None:
        self.sums.assign(ops.zeros_like(self.sums.value))
        self.images.assign(ops.zeros_like(self.images.value))

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
