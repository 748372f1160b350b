"""Weights that stay, and weights that follow a plan: neither looks at the values of the terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.ops.pixels import Tensor
from kerasloss.weighting.base import Every, Memory, Seen, Weighting


@register_keras_serializable("kerasloss")
class Static(Weighting):
    """Leaves the starting weights as they are; what the others are compared with.

    Example:

    >>> loss = kerasloss.Compound(
    ...     {"ce": kerasloss.CrossEntropy(), "dice": kerasloss.Dice()},
    ...     weighting=kerasloss.weighting.Static(),
    ... )
    """

    def update(self, seen: Seen, memory: Memory) -> tuple[Tensor, Memory]:
        return seen.weights, memory


@register_keras_serializable("kerasloss")
class Schedule(Weighting):
    """Gives every term a weight that follows a plan, such as more and more of a boundary loss.

    Formula, for training step or epoch t (0 for the first):

    ```python
    w_i = schedules[i](t)
    ```

    The weights are used as they are, whatever their sum; the starting weights do not matter.

    Args:
        schedules: for every term a number, or a function of t that returns one: a
            `keras.optimizers.schedules.LearningRateSchedule`, of which Keras has constant, linear,
            polynomial, cosine, exponential and stepwise ones, or a function of your own that is
            written with `keras.ops`. To save the model, register that with Keras.
        every: whether t counts batches or epochs.

    Example:

    >>> boundary = keras.optimizers.schedules.PolynomialDecay(0.01, 1000, 0.5)  # linear, upwards
    >>> loss = kerasloss.Compound(
    ...     {"dice": kerasloss.Dice(), "boundary": kerasloss.Boundary()},
    ...     weighting=kerasloss.weighting.Schedule({"dice": 1.0, "boundary": boundary}),
    ... )
    """

    looks_back = False

    schedules: dict[str, Any]

    def __init__(
        self,
        schedules: Mapping[str, float | Callable[[Tensor], Tensor]],
        *,
        every: Every = "batch",
    ) -> None:
        if not isinstance(schedules, Mapping) or not schedules:
            raise _check.error(
                "Schedule", "`schedules` to be a dict of name -> schedule", repr(schedules)
            )
        for term, schedule in schedules.items():
            if not callable(schedule):
                _check.number("Schedule", f"schedules[{term!r}]", schedule, minimum=0.0)
        super().__init__(every=every, schedules=dict(schedules))

    def memory_for(self, terms: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
        if set(terms) != set(self.schedules):
            raise _check.error(
                "Schedule",
                f"a schedule for each of the terms {list(terms)}",
                f"{list(self.schedules)}",
            )
        return {}

    def update(self, seen: Seen, memory: Memory) -> tuple[Tensor, Memory]:
        elapsed = ops.cast(seen.step - 1, "float32")
        weights = [
            schedule(elapsed) if callable(schedule) else schedule
            for schedule in (self.schedules[term] for term in seen.terms)
        ]
        return ops.stack([ops.cast(weight, "float32") for weight in weights]), memory

    def get_config(self) -> dict[str, Any]:
        schedules = {
            term: keras.saving.serialize_keras_object(schedule) if callable(schedule) else schedule
            for term, schedule in self.schedules.items()
        }
        return {"schedules": schedules, "every": self.every}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Schedule:
        schedules = {
            term: keras.saving.deserialize_keras_object(schedule)
            if isinstance(schedule, dict)
            else schedule
            for term, schedule in config["schedules"].items()
        }
        return cls(schedules, every=config["every"])
