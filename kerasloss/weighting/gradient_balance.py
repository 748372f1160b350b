"""Gradient balance: weights that make every loss pull equally hard at the logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.ops.pixels import EPSILON, Tensor, divide
from kerasloss.weighting.base import Every, Memory, Seen, Weighting

# A loss that hardly pulls any more weighs at most so many times the one that pulls hardest.
_LARGEST_RATIO = 1000.0


@register_keras_serializable("kerasloss")
class GradientBalance(Weighting):
    """Weighs losses by the inverse of their gradients: all pull equally hard at the logits.

    Formula, for K losses with the norm `n_i` of the gradient of loss i with respect to the logits
    of the batch (those behind the probabilities, if the model gives probabilities):

    ```python
    w_i = K * u_i / sum of u_j,   u_i = r_i ** alpha / n_i
    r_i = q_i / mean of q_j,      q_i = L_i(t) / L_i(0)
    ```

    That is where GradNorm leads, `w_i * n_i` in proportion to `r_i ** alpha`, in one step: GradNorm
    takes the gradients with respect to shared weights of the model, which costs a backward pass
    through the model for every loss, and descends to its aim with an optimizer of its own. The
    gradient with respect to the logits costs one more pass over the losses alone. The weights
    sum to K. `n_i` is taken to be at least a thousandth of the largest.

    Args:
        alpha: how much more a loss may pull that has fallen less than the others, >= 0; 0 for all
            alike. GradNorm has 1.5.
        every: as in `Weighting`.
        smoothing: as in `Weighting`; the norms of single batches are noisy.
        minimum: as in `Weighting`.
        total: as in `Weighting`; by default K.

    Example:

    >>> weighting = kerasloss.weighting.GradientBalance(alpha=0.5)

    Reference:
        Chen, Badrinarayanan, Lee, Rabinovich (2018), GradNorm: gradient normalization for adaptive
        loss balancing in deep multitask networks, ICML. https://arxiv.org/abs/1711.02257
    """

    tunable = ("alpha",)
    sees_gradients = True

    alpha: Any

    def __init__(
        self,
        *,
        alpha: Any = 0.0,
        every: Every = "batch",
        smoothing: float = 0.9,
        minimum: float = 0.0,
        total: float | None = None,
    ) -> None:
        _check.number("GradientBalance", "alpha", alpha, minimum=0.0)
        super().__init__(
            alpha=alpha, every=every, smoothing=smoothing, minimum=minimum, total=total
        )

    def memory_for(self, terms: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
        return {"first": np.zeros(len(terms), "float32")}

    def update(self, seen: Seen, memory: Memory) -> tuple[Tensor, Memory]:
        count = ops.sum(seen.active)
        first = ops.where(seen.step == 1, seen.values, memory["first"])
        norms = seen.gradients * seen.active
        norms = ops.maximum(norms, ops.maximum(ops.max(norms) / _LARGEST_RATIO, EPSILON**2))
        remaining = ops.abs(divide(seen.values, first)) * seen.active
        rate = divide(remaining * count, ops.sum(remaining))
        # A loss that has come to 0 keeps a finite logarithm; for alpha 0 it counts like the others.
        rate = ops.exp(ops.cast(self.alpha, "float32") * ops.log(ops.maximum(rate, EPSILON)))
        pull = seen.active * rate / norms
        return count * pull / ops.sum(pull), {"first": first}
