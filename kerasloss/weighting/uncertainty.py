"""Uncertainty weighting: log-variances that are trained together with the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.ops.pixels import Tensor
from kerasloss.weighting.base import Memory, Seen, Weighting


@register_keras_serializable("kerasloss")
class Uncertainty(Weighting):
    """Learns a variance for every loss: a loss that stays large weighs less.

    Formula, with the starting weights `a_i` and one trained log-variance `s_i` a loss:

    ```python
    w_i  = a_i * exp(-s_i)
    loss = sum of w_i * L_i + s_i / 2
    ```

    Starting weights of 1/2, the default for two losses, give the form that the paper has for
    regression, weights of 1 the one for classification. At rest `w_i = 1 / (2 L_i)`. The weights
    have no fixed sum, and the loss may be negative.

    The log-variances are weights of the model, so that its optimizer trains them and whatever
    Keras does with weights holds for them, too. The layer `kerasloss.LogVariances` has them; it
    changes nothing that passes through. `kerasloss.DynamicWeighting` finds it in the model.

    Example:

    >>> loss = kerasloss.Compound(
    ...     {"ce": kerasloss.CrossEntropy(), "dice": kerasloss.Dice()},
    ...     weighting=kerasloss.weighting.Uncertainty(),
    ... )
    >>> network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 1)])
    >>> model = keras.Sequential([network, kerasloss.LogVariances(["ce", "dice"])])
    >>> model.compile(loss=loss)

    Reference:
        Kendall, Gal, Cipolla (2018), Multi-task learning using uncertainty to weigh losses for
        scene geometry and semantics, CVPR. https://arxiv.org/abs/1705.07115
    """

    learns = True

    def __init__(self) -> None:
        super().__init__()

    def get_config(self) -> dict[str, Any]:
        return {}

    def memory_for(self, terms: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
        return {"log_variances": np.zeros(len(terms), "float32")}

    def update(self, seen: Seen, memory: Memory) -> tuple[Tensor, Memory]:
        return seen.start * ops.exp(-memory["log_variances"]), memory

    def penalty(self, seen: Seen, memory: Memory) -> Tensor:
        return ops.sum(memory["log_variances"] * seen.active) / 2.0


@register_keras_serializable("kerasloss")
class LogVariances(keras.layers.Layer):
    """Holds what `kerasloss.weighting.Uncertainty` learns; its output is its input.

    It may stand anywhere in the model: at its end, around a model that exists already, or in front
    of one of several outputs.

    Args:
        terms: names of the terms of the compound, in any order.
        initial: log-variance at the start.
        **options: as in `keras.layers.Layer`.

    Example:

    >>> network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 1)])
    >>> model = keras.Sequential([network, kerasloss.LogVariances(["ce", "dice"])])
    """

    def __init__(self, terms: Sequence[str], *, initial: float = 0.0, **options: Any) -> None:
        # Or the outputs would be cast to the compute dtype of a policy such as "mixed_float16".
        super().__init__(**{"autocast": False, **options})
        if isinstance(terms, str) or not terms or not all(isinstance(term, str) for term in terms):
            raise _check.error("LogVariances", "`terms` to be a list of names", repr(terms))
        _check.plain_number("LogVariances", "initial", initial)
        self.terms = list(terms)
        self.initial = initial
        self.log_variances = self.add_weight(
            shape=(len(self.terms),),
            initializer=keras.initializers.Constant(initial),
            dtype="float32",
            name="log_variances",
        )

    def call(self, inputs: Any) -> Any:
        return inputs

    def of(self, terms: Sequence[str]) -> Tensor:
        """Returns the log-variances of the terms, in their order."""
        values = ops.convert_to_tensor(self.log_variances)
        return ops.take(values, [self.terms.index(term) for term in terms], axis=0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "terms": self.terms, "initial": self.initial}
