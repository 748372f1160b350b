"""Dynamic memory fusion: weights from the spread of each loss over a memory of past steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.ops.pixels import EPSILON, Tensor
from kerasloss.weighting.base import Every, Memory, Seen, Weighting, pushed, shares

# The smallest spread that counts: a constant loss would otherwise take all the weight.
_SMALLEST_SPREAD = 1e-3


@register_keras_serializable("kerasloss")
class DynamicMemoryFusion(Weighting):
    """Weighs losses by how much their values varied over the last training steps.

    Every remembered series is scaled by a symmetric logarithm and to the range 0 to 1. The weights
    always sum to 1. For the first `warmup` steps the starting weights stay.

    Formula, with the scaled series `g_i` of loss i over the `n` remembered steps:

    ```python
    "var"    w_i = Var(g_i) / sum of Var(g_j)                         varying losses weigh more
    "mad"    w_i = u_i / sum of u_j,  u_i = 1 / max(MAD(g_i), 1e-3)   steady losses weigh more
    "bayes"  w_i = (1 - 1/n) * posterior_i + (1/n) / K
             posterior_i = u_i ** (1/n) * w_i / sum of the same       w_i on the right: last step
    ```

    `MAD(g) = median(|g - median(g)|)`. The Bayes update as published multiplies the whole evidence
    in at every step, and since two memories that follow each other share all but one value, one
    loss takes all the weight within a few steps and never gives it back. Here each step adds `1/n`
    of the evidence, as one value in n is new, and a share `1/n` of the uniform weights is mixed
    in: old evidence fades over one memory, and no weight falls below `1 / (n K)`; at rest none is
    below `1 / (K (1 + log 1000))`.

    Edge cases: series that do not vary at all leave `"var"` with equal weights.

    Args:
        method: `"var"`, `"mad"` or `"bayes"`.
        warmup: number of training steps before the weights move, >= 2; a number or a scalar
            `keras.Variable`.
        memory: number of past steps that are remembered, >= 2.
        every: as in `Weighting`.
        smoothing: as in `Weighting`.
        minimum: as in `Weighting`.
        total: as in `Weighting`; by default 1.

    Example:

    >>> weighting = kerasloss.weighting.DynamicMemoryFusion(method="mad", warmup=20, memory=100)
    >>> loss = kerasloss.Compound(
    ...     {"ce": kerasloss.CrossEntropy(), "dice": kerasloss.Dice()}, weighting=weighting
    ... )

    Reference:
        Golnari, Diba (2024), Adaptive real-time multi-loss function optimization using dynamic
        memory fusion framework. https://arxiv.org/abs/2410.19745
    """

    tunable = ("warmup",)

    method: str
    warmup: Any
    memory: int

    def __init__(
        self,
        *,
        method: Literal["var", "mad", "bayes"] = "var",
        warmup: Any = 50,
        memory: int = 150,
        every: Every = "batch",
        smoothing: float = 0.0,
        minimum: float = 0.0,
        total: float | None = None,
    ) -> None:
        _check.choice("DynamicMemoryFusion", "method", method, ("var", "mad", "bayes"))
        _check.number("DynamicMemoryFusion", "warmup", warmup, minimum=2)
        _check.integer("DynamicMemoryFusion", "memory", memory, minimum=2)
        super().__init__(
            method=method,
            warmup=warmup,
            memory=int(memory),
            every=every,
            smoothing=smoothing,
            minimum=minimum,
            total=total,
        )

    def memory_for(self, terms: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
        return {"history": np.zeros((self.memory, len(terms)), "float32")}

    def update(self, seen: Seen, memory: Memory) -> tuple[Tensor, Memory]:
        history = pushed(memory["history"], seen.values)
        return self._weights(history, seen), {"history": history}

    def _weights(self, history: Tensor, seen: Seen) -> Tensor:
        step, weights, active = seen.step, seen.weights, seen.active
        filled = ops.minimum(step, self.memory)
        known = ops.expand_dims(ops.arange(self.memory) >= self.memory - filled, -1)
        count = ops.cast(filled, history.dtype)
        series = _scaled(history, known)
        if self.method == "var":
            score = _variance(series, known, count)
            # Without any variation there is nothing to prefer.
            score = ops.where(ops.sum(score * active) > 0, score, 1.0)
        else:
            score = 1.0 / ops.maximum(_deviation(series, known, filled), _SMALLEST_SPREAD)
        if self.method == "bayes":
            posterior = shares(ops.exp(ops.log(score) / count) * weights * active)
            score = (1.0 - 1.0 / count) * posterior + shares(active) / count
        ready = ops.cast(step, history.dtype) >= ops.cast(self.warmup, history.dtype)
        return ops.where(ready, shares(score * active), weights)


def _scaled(history: Tensor, known: Tensor) -> Tensor:
    """Symmetric logarithm, then every column to 0..1 over its known rows; 0 elsewhere."""
    value = ops.sign(history) * ops.log1p(ops.abs(history))
    low = ops.min(ops.where(known, value, float("inf")), axis=0)
    high = ops.max(ops.where(known, value, float("-inf")), axis=0)
    return ops.where(known, (value - low) / (high - low + EPSILON), 0.0)


def _variance(series: Tensor, known: Tensor, count: Tensor) -> Tensor:
    """Population variance of every column over its known rows."""
    mean = ops.sum(series, axis=0) / count
    return ops.sum(ops.where(known, ops.square(series - mean), 0.0), axis=0) / count


def _deviation(series: Tensor, known: Tensor, filled: Tensor) -> Tensor:
    """Median absolute deviation from the median of every column over its known rows."""
    middle = _median(series, known, filled)
    return _median(ops.abs(series - middle), known, filled)


def _median(series: Tensor, known: Tensor, filled: Tensor) -> Tensor:
    """Median of every column over its known rows: the mean of the two middle ones if even."""
    ordered = ops.sort(ops.where(known, series, float("inf")), axis=0)
    lower, upper = (filled - 1) // 2, filled // 2
    return (ops.take(ordered, lower, axis=0) + ops.take(ordered, upper, axis=0)) / 2.0
