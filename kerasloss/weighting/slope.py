"""SoftAdapt: weights from how fast each loss falls or rises at the moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.ops.pixels import Tensor
from kerasloss.weighting.base import (
    Every,
    Memory,
    Seen,
    Weighting,
    pushed,
    shares,
    softmax_of_active,
)

# Coefficients of the forward difference through so many values, the oldest first.
_DIFFERENCES = {
    2: (-1.0, 1.0),
    4: (-11 / 6, 3.0, -3 / 2, 1 / 3),
    6: (-137 / 60, 5.0, -5.0, 10 / 3, -5 / 4, 1 / 5),
}


@register_keras_serializable("kerasloss")
class SoftAdapt(Weighting):
    """Weighs losses by the slope of their last values.

    Formula, with the finite difference `s_i` of the last `points` values of loss i and, with
    `by_value`, their mean `m_i` (else 1):

    ```python
    w_i = m_i * exp(beta * s_i) / sum of m_j * exp(beta * s_j)
    ```

    The weights sum to 1. Until there are enough values the starting weights stay.

    Args:
        beta: above 0 the losses that fall least weigh most, below 0 those that fall fastest.
        points: 2, 4 or 6: how many values the slope is taken from.
        by_value: whether losses with larger values weigh more, too.
        every: as in `Weighting`.
        smoothing: as in `Weighting`.
        minimum: as in `Weighting`.
        total: as in `Weighting`; by default 1.

    Example:

    >>> weighting = kerasloss.weighting.SoftAdapt(beta=0.1, every="epoch")

    Reference:
        Heydari, Thompson, Mehmood (2019), SoftAdapt: techniques for adaptive loss weighting of
        neural networks with multi-part loss functions. https://arxiv.org/abs/1912.12355
    """

    tunable = ("beta",)

    beta: Any
    points: int
    by_value: bool

    def __init__(
        self,
        *,
        beta: Any = 0.1,
        points: int = 2,
        by_value: bool = False,
        every: Every = "batch",
        smoothing: float = 0.0,
        minimum: float = 0.0,
        total: float | None = None,
    ) -> None:
        _check.number("SoftAdapt", "beta", beta)
        _check.choice("SoftAdapt", "points", points, tuple(_DIFFERENCES))
        _check.boolean("SoftAdapt", "by_value", by_value)
        super().__init__(
            beta=beta,
            points=points,
            by_value=by_value,
            every=every,
            smoothing=smoothing,
            minimum=minimum,
            total=total,
        )

    def memory_for(self, terms: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
        return {"history": np.zeros((self.points, len(terms)), "float32")}

    def update(self, seen: Seen, memory: Memory) -> tuple[Tensor, Memory]:
        history = pushed(memory["history"], seen.values)
        coefficients = ops.expand_dims(ops.cast(_DIFFERENCES[self.points], "float32"), -1)
        slope = ops.sum(coefficients * history, axis=0)
        weights = softmax_of_active(ops.cast(self.beta, "float32") * slope, seen.active)
        if self.by_value:
            weights = shares(weights * ops.mean(history, axis=0))
        full = seen.step >= self.points
        return ops.where(full, weights, seen.weights), {"history": history}
