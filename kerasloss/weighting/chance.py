"""Weights by chance, drawn from the number of the step, so that a resumed run repeats them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.ops.pixels import Tensor, divide
from kerasloss.weighting.base import Every, Memory, Seen, Weighting, softmax_of_active


@register_keras_serializable("kerasloss")
class RandomWeighting(Weighting):
    """Draws new weights at every step: the baseline that a strategy must beat.

    Formula, with independent standard normal `z_i`:

    ```python
    w_i = exp(z_i) / sum of exp(z_j)
    ```

    The weights sum to 1. They depend on `seed` and the step alone, and are the same on every
    backend.

    Args:
        seed: integer >= 0.
        every: as in `Weighting`.
        smoothing: as in `Weighting`.
        minimum: as in `Weighting`.
        total: as in `Weighting`; by default 1.

    Example:

    >>> weighting = kerasloss.weighting.RandomWeighting(seed=1)

    Reference:
        Lin, Ye, Zhang, Tsang (2022), Reasonable effectiveness of random weighting: a litmus test
        for multi-task learning, TMLR. https://arxiv.org/abs/2111.10603
    """

    seed: int

    def __init__(
        self,
        *,
        seed: int = 0,
        every: Every = "batch",
        smoothing: float = 0.0,
        minimum: float = 0.0,
        total: float | None = None,
    ) -> None:
        _check.integer("RandomWeighting", "seed", seed, minimum=0)
        super().__init__(seed=seed, every=every, smoothing=smoothing, minimum=minimum, total=total)

    def update(self, seen: Seen, memory: Memory) -> tuple[Tensor, Memory]:
        count = len(seen.terms)
        # Box and Muller's way from two uniform numbers to a normal one.
        uniform = _uniform(self.seed, seen.step, 2 * count)
        radius = ops.sqrt(-2.0 * ops.log(uniform[:count]))
        angle = 2.0 * math.pi * uniform[count:]
        return softmax_of_active(radius * ops.cos(angle), seen.active), memory


@register_keras_serializable("kerasloss")
class ReLoBRaLo(Weighting):
    """Relative loss balancing with random lookback: what has fallen least weighs most.

    Formula, for K losses at step t, with `b(t, u)_i = K * softmax(L_i(t) / (temperature L_i(u)))`
    and `r` 1 with the probability `rho`, else 0:

    ```python
    w(t) = alpha * (r * w(t - 1) + (1 - r) * b(t, 0)) + (1 - alpha) * b(t, t - 1)
    ```

    The weights sum to K. At the first step the starting weights stay; at the second `alpha` is 0.

    Args:
        alpha: how much of the past is kept, 0 to 1.
        temperature: > 0; the higher, the more equal the weights.
        rho: probability with which the past is the last step and not the first, 0 to 1.
        seed: integer >= 0, for the draws of `r`.
        every: as in `Weighting`.
        minimum: as in `Weighting`.
        total: as in `Weighting`; by default K.

    Example:

    >>> weighting = kerasloss.weighting.ReLoBRaLo(alpha=0.99, temperature=0.5)

    Reference:
        Bischof, Kraus (2021), Multi-objective loss balancing for physics-informed deep learning.
        https://arxiv.org/abs/2110.09813
    """

    tunable = ("alpha", "temperature", "rho")

    alpha: Any
    temperature: Any
    rho: Any
    seed: int

    def __init__(
        self,
        *,
        alpha: Any = 0.999,
        temperature: Any = 1.0,
        rho: Any = 1.0,
        seed: int = 0,
        every: Every = "batch",
        minimum: float = 0.0,
        total: float | None = None,
    ) -> None:
        _check.number("ReLoBRaLo", "alpha", alpha, minimum=0.0, maximum=1.0)
        _check.number("ReLoBRaLo", "temperature", temperature, above=0.0)
        _check.number("ReLoBRaLo", "rho", rho, minimum=0.0, maximum=1.0)
        _check.integer("ReLoBRaLo", "seed", seed, minimum=0)
        super().__init__(
            alpha=alpha,
            temperature=temperature,
            rho=rho,
            seed=seed,
            every=every,
            minimum=minimum,
            total=total,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["smoothing"]  # `alpha` is that
        return config

    def memory_for(self, terms: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
        return {name: np.zeros(len(terms), "float32") for name in ("first", "last")}

    def update(self, seen: Seen, memory: Memory) -> tuple[Tensor, Memory]:
        first = ops.where(seen.step == 1, seen.values, memory["first"])
        alpha, temperature, rho = (
            ops.cast(value, "float32") for value in (self.alpha, self.temperature, self.rho)
        )

        def balanced(former: Tensor) -> Tensor:
            ratio = divide(seen.values, temperature * former)
            return ops.sum(seen.active) * softmax_of_active(ratio, seen.active)

        alpha = ops.where(seen.step == 2, 0.0, alpha)
        stays = _uniform(self.seed, seen.step, 1)[0] <= rho
        past = ops.where(stays, seen.weights, balanced(first))
        moved = alpha * past + (1.0 - alpha) * balanced(memory["last"])
        weights = ops.where(seen.step == 1, seen.weights, moved)
        return weights, {"first": first, "last": seen.values}


def _uniform(seed: int, step: Tensor, count: int) -> Tensor:
    """Numbers above 0 and at most 1, shape `(count,)`, the same for the same seed and step."""
    state = ops.cast(step, "int32") * 0x3C6EF35F + (seed * 0x19660D + 0x27220A95) % 2**31
    state = _mixed(state) + ops.arange(count, dtype="int32") * 0x1E3779B1
    bits = ops.bitwise_and(_mixed(_mixed(state)), 0xFFFFFF)
    return (ops.cast(bits, "float32") + 1.0) / 2.0**24


def _mixed(state: Tensor) -> Tensor:
    """A hash of 32-bit integers; products wrap around alike on every backend."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x046CA68B)):
        unsigned = ops.bitwise_and(ops.right_shift(state, shift), (1 << (32 - shift)) - 1)
        state = ops.bitwise_xor(state, unsigned) * factor
    unsigned = ops.bitwise_and(ops.right_shift(state, 16), 0xFFFF)
    return ops.bitwise_xor(state, unsigned)
