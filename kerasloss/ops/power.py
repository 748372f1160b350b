"""Powers: fast ones, and with a finite slope at 0 where the true one is infinite."""

from __future__ import annotations

import functools
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


def is_product(exponent: Any) -> bool:
    """Whether a power is a product of few: others cost a logarithm and an exponential a pixel."""
    return isinstance(exponent, int | float) and exponent in (0, 1, 2, 3, 4)


def product_power(base: Tensor, exponent: float) -> Tensor:
    """`base ** exponent` for an exponent of which `is_product` holds; 0 to the power 0 is 1."""
    if exponent == 0:
        return ops.ones_like(base)
    return functools.reduce(lambda power, _: power * base, range(int(exponent) - 1), base)


def clipped_power(base: Tensor, exponent: Any) -> Tensor:
    """`base ** exponent` for any exponent >= 0; a base below 1e-7 may be taken for that."""
    if is_product(exponent):
        return product_power(base, exponent)
    return ops.exp(ops.cast(exponent, base.dtype) * ops.log(ops.maximum(base, EPSILON)))
