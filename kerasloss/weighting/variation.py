"""CoV weighting: weights from the coefficient of variation of each loss over all of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from keras.saving import register_keras_serializable

from kerasloss.ops.pixels import Tensor, divide
from kerasloss.weighting.base import Memory, Seen, Weighting, shares


@register_keras_serializable("kerasloss")
class CoefficientOfVariation(Weighting):
    """Weighs losses by how much their relative progress varies.

    Formula, with the mean `M_i` of loss i over all steps before this one:

    ```python
    l_i = L_i / M_i
    w_i = c_i / sum of c_j,   c_i = standard deviation of l_i / mean of l_i
    ```

    Mean and standard deviation of `l_i` are taken over all steps before this one. The weights sum
    to 1. For the first two steps the starting weights stay.

    Args:
        every: as in `Weighting`.
        smoothing: as in `Weighting`.
        minimum: as in `Weighting`.
        total: as in `Weighting`; by default 1.

    Example:

    >>> weighting = kerasloss.weighting.CoefficientOfVariation()

    Reference:
        Groenendijk, Karaoglu, Gevers, Mensink (2021), Multi-loss weighting with coefficient of
        variations, WACV. https://arxiv.org/abs/2009.01717
    """

    def memory_for(self, terms: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
        names = ("mean_loss", "mean_ratio", "squares")
        return {name: np.zeros(len(terms), "float32") for name in names}

    def update(self, seen: Seen, memory: Memory) -> tuple[Tensor, Memory]:
        mean_loss, mean, squares = (memory[n] for n in ("mean_loss", "mean_ratio", "squares"))
        count = ops.cast(seen.step, "float32")
        before = ops.maximum(count - 1.0, 1.0)
        spread = ops.sqrt(squares / before + 1e-8)
        weights = shares(divide(spread, mean) * seen.active)
        weights = ops.where(seen.step > 2, weights, seen.weights)

        first = seen.step == 1
        ratio = divide(seen.values, ops.where(first, seen.values, mean_loss))
        # Welford's update: no difference of large sums.
        change = ratio - mean
        new_mean = mean + change / count
        return weights, {
            "mean_loss": mean_loss + (seen.values - mean_loss) / count,
            "mean_ratio": new_mean,
            "squares": squares + change * (ratio - new_mean),
        }
