"""The contract of a weighting strategy: past term values in, weights out, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from keras import ops

from kerasloss import _check
from kerasloss.ops.pixels import EPSILON, Tensor

Every = Literal["batch", "epoch"]
Memory = dict[str, Tensor]


class Seen(NamedTuple):
    """What a strategy is told.

    Attributes:
        terms: names of the terms.
        values: their values, shape `(terms,)`: of this batch, or means over the epoch that ended.
        step: number of batches or epochs seen so far, this one included; int32 scalar.
        weights: weights until now, shape `(terms,)`.
        start: starting weights, shape `(terms,)`.
        gradients: norm of the gradient of each term with respect to the logits, shape
            `(terms,)`, like the values of a batch or an epoch's mean; None for a strategy that does
            not say `sees_gradients`.
    """

    terms: tuple[str, ...]
    values: Tensor
    step: Tensor
    weights: Tensor
    start: Tensor
    gradients: Tensor | None = None

    @property
    def active(self) -> Tensor:
        """1 for the terms whose starting weight is not 0, else 0; shape `(terms,)`."""
        return ops.cast(self.start > 0, "float32")


class Weighting:
    """Base class of the strategies.

    A strategy holds its options and nothing that changes while a model trains: what it remembers
    and the current weights live in the state of the `kerasloss.Compound` that uses it. So one
    object may serve several compounds. A strategy of your own is a subclass with two methods,
    `memory_for` and `update`, pure functions that run inside `jit`; it passes its options to
    `__init__`, which keeps them as attributes and in the config.

    Args:
        every: whether the weights follow the values of every `"batch"` or the means of every
            `"epoch"`. An epoch ends when the metrics are reset, as `fit` does.
        smoothing: share of the former weights that is kept at each update, at least 0 and below 1.
        minimum: what every weight has at least, as a share of their sum: at least 0, and below 1
            over the number of terms.
        total: sum of the weights, > 0, or None to leave it to the strategy.
        **options: the strategy's own.

    Attributes:
        tunable: names of the numeric options that may change without a retrace.
        looks_back: whether it needs values; else it is asked at the beginning of the first epoch,
            too, where there are none.
        sees_gradients: whether it needs `Seen.gradients`, which cost a second pass over the losses
            (not over the model).
        learns: whether its memory is trained together with the model, by way of the layer
            `kerasloss.LogVariances`. Then `update` may be differentiated and gives the weights of
            the present step.
    """

    tunable: ClassVar[tuple[str, ...]] = ()
    looks_back: ClassVar[bool] = True
    sees_gradients: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    def __init__(
        self,
        *,
        every: Every = "batch",
        smoothing: float = 0.0,
        minimum: float = 0.0,
        total: float | None = None,
        **options: Any,
    ) -> None:
        owner = type(self).__name__
        _check.choice(owner, "every", every, ("batch", "epoch"))
        _check.plain_number(owner, "smoothing", smoothing, minimum=0.0, maximum=1.0)
        _check.plain_number(owner, "minimum", minimum, minimum=0.0, maximum=1.0)
        if smoothing == 1:
            raise _check.error(owner, "`smoothing` below 1", "1: the weights would never move")
        if total is not None:
            _check.plain_number(owner, "total", total, above=0.0)
        self.every: Every = every
        self.smoothing = smoothing
        self.minimum = minimum
        self.total = total
        self._option_names = tuple(options)
        for option, value in options.items():
            setattr(self, option, value)

    def memory_for(self, terms: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
        """Returns what is remembered before the first step: float32 arrays by name."""
        return {}

    def update(self, seen: Seen, memory: Memory) -> tuple[Tensor, Memory]:
        """Returns the weights to use from now on, shape `(terms,)`, and the new memory.

        Neither is used if a value is NaN or infinite. Weights of terms that are not active are set
        to 0 afterwards.
        """
        raise NotImplementedError

    def penalty(self, seen: Seen, memory: Memory) -> Tensor | None:
        """What a strategy that learns adds to the loss; a scalar or None."""
        return None

    def advance(self, seen: Seen, memory: Memory) -> tuple[Tensor, Memory]:
        """`update`, then what `smoothing`, `minimum` and `total` ask for."""
        weights, memory = self.update(seen, memory)
        weights = weights * seen.active
        if self.smoothing > 0:
            weights = self.smoothing * seen.weights + (1.0 - self.smoothing) * weights
        if self.total is not None or self.minimum > 0:
            whole = ops.sum(weights) if self.total is None else self.total
            share = weights / ops.maximum(ops.sum(weights), EPSILON)
            count = ops.sum(seen.active)
            weights = whole * (self.minimum + (1.0 - count * self.minimum) * share) * seen.active
        return weights, memory

    def get_config(self) -> dict[str, Any]:
        """The arguments this strategy was made with."""
        options = {name: getattr(self, name) for name in self._option_names}
        options = {
            name: float(ops.convert_to_numpy(value.value)) if _check.is_variable(value) else value
            for name, value in options.items()
        }
        common = {"every": self.every, "smoothing": self.smoothing, "minimum": self.minimum}
        return {**options, **common, "total": self.total}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Weighting:
        return cls(**config)


def shares(values: Tensor) -> Tensor:
    """Non-negative values divided by their sum."""
    return values / ops.maximum(ops.sum(values), EPSILON)


def softmax_of_active(values: Tensor, active: Tensor) -> Tensor:
    """Softmax over the active terms; 0 for the others."""
    values = ops.where(active > 0, values, ops.min(values))
    powers = ops.exp(values - ops.max(values)) * active
    return powers / ops.sum(powers)


def pushed(history: Tensor, values: Tensor) -> Tensor:
    """Rows of values with a new last row, without the first."""
    return ops.concatenate([history[1:], ops.expand_dims(values, 0)], axis=0)
