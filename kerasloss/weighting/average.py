"""Dynamic weight average: weights from how much each loss fell from one epoch to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.ops.pixels import Tensor, divide
from kerasloss.weighting.base import Every, Memory, Seen, Weighting, pushed, softmax_of_active


@register_keras_serializable("kerasloss")
class DynamicWeightAverage(Weighting):
    """Weighs losses by the ratio of their last two epoch means: what falls slowly weighs more.

    Formula, for K losses, with the mean `L_i(e)` over epoch e:

    ```python
    r_i = L_i(e - 1) / L_i(e - 2)
    w_i = K * exp(r_i / temperature) / sum of exp(r_j / temperature)
    ```

    The weights sum to K, the number of active terms. In the first two epochs the starting weights
    stay. A loss that was 0 has the ratio 0.

    Args:
        temperature: > 0; the higher, the more equal the weights.
        every: as in `Weighting`.
        smoothing: as in `Weighting`.
        minimum: as in `Weighting`.
        total: as in `Weighting`; by default K.

    Example:

    >>> weighting = kerasloss.weighting.DynamicWeightAverage(temperature=2.0)

    Reference:
        Liu, Johns, Davison (2019), End-to-end multi-task learning with attention, CVPR.
        https://arxiv.org/abs/1803.10704
    """

    tunable = ("temperature",)

    temperature: Any

    def __init__(
        self,
        *,
        temperature: Any = 2.0,
        every: Every = "epoch",
        smoothing: float = 0.0,
        minimum: float = 0.0,
        total: float | None = None,
    ) -> None:
        _check.number("DynamicWeightAverage", "temperature", temperature, above=0.0)
        super().__init__(
            temperature=temperature,
            every=every,
            smoothing=smoothing,
            minimum=minimum,
            total=total,
        )

    def memory_for(self, terms: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
        return {"history": np.zeros((2, len(terms)), "float32")}

    def update(self, seen: Seen, memory: Memory) -> tuple[Tensor, Memory]:
        history = pushed(memory["history"], seen.values)
        ratio = divide(history[1], history[0]) / ops.cast(self.temperature, "float32")
        weights = ops.sum(seen.active) * softmax_of_active(ratio, seen.active)
        return ops.where(seen.step >= 2, weights, seen.weights), {"history": history}
