"""Powers with an exponent below 1, whose true slope at 0 is infinite, with a finite one."""

from __future__ import annotations

from typing import Any

from keras import ops

from kerasloss.ops.pixels import EPSILON, Tensor

# So small that a power keeps its value to rounding, so large that its slope keeps its range.
_TINY = 1e-20


def power(base: Tensor, exponent: Any) -> Tensor:
    """`base ** exponent` for an exponent between 0 and 1, with a finite slope everywhere.

    0 to any exponent, 0 included, is 0 with slope 0, and so is anything below. From 0 to 1e-20 the
    power is replaced by a straight line.
    """
    line = ops.where(base > 0, base / _TINY, 0.0)
    return ops.exp(exponent * ops.log(ops.maximum(base, _TINY))) * ops.where(
        base > _TINY, 1.0, line
    )


def fade(log_p: Tensor, gamma: Any) -> Tensor:
    """`(1 - p) ** gamma` of the focal losses; below EPSILON the base is constant."""
    return ops.exp(gamma * ops.log(ops.maximum(-ops.expm1(log_p), EPSILON)))
