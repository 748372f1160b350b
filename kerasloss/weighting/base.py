"""The contract of a weighting strategy: past term values in, weights out, nothing else."""

from __future__ import annotations

from typing import Any, ClassVar

from kerasloss.ops.pixels import Tensor


class Weighting:
    """Base class of the strategies.

    A strategy holds its options and nothing that changes while a model trains: the memory of past
    values and the current weights live in the state of the `kerasloss.Compound` that uses it. So
    one object may serve several compounds, and `update` is a pure function that runs inside `jit`.

    Attributes:
        memory: number of past training steps whose term values `update` sees.
        tunable: names of the numeric options that may change without a retrace.
    """

    memory: int
    tunable: ClassVar[tuple[str, ...]] = ()

    def update(self, history: Tensor, step: Tensor, weights: Tensor, active: Tensor) -> Tensor:
        """Returns the weights for the current training step.

        Args:
            history: term values of the last steps, shape `(memory, terms)`, the current step in
                the last row. Only the last `min(step, memory)` rows hold values.
            step: number of steps seen so far, the current one included; int32 scalar.
            weights: weights of the step before, shape `(terms,)`.
            active: 1 for the terms whose starting weight is not 0, else 0; shape `(terms,)`. The
                others must keep the weight 0.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments this strategy was made with."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Weighting:
        return cls(**config)
