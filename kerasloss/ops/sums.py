"""Sums over the pixels of each image."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kerasloss.ops.placement import on_accelerator

Tensor = Any


def space_sum(values: Tensor) -> Tensor:
    """`(batch, classes, *space)` summed over space: `(batch, classes)`."""
    if not _loops_are_scalar():
        return ops.sum(values, axis=tuple(range(2, len(values.shape))))
    flat = ops.reshape(values, (*values.shape[:2], -1))
    return ops.matmul(flat, ops.ones((flat.shape[-1],), dtype=values.dtype))


def space_mean(values: Tensor) -> Tensor:
    """`(batch, classes, *space)` averaged over space: `(batch, classes)`."""
    if not _loops_are_scalar():
        return ops.mean(values, axis=tuple(range(2, len(values.shape))))
    return space_sum(values) / float(math.prod(values.shape[2:]))


def _loops_are_scalar() -> bool:
    """Whether a sum is slow, and all that is computed for it.

    JAX on a CPU puts what leads up to a sum into the loop of the sum, which adds one number after
    the other: no vector code for exponentials and logarithms. A product with ones is no such loop.
    On a GPU it would be rounded to fewer digits.
    """
    return keras.backend.backend() == "jax" and not on_accelerator()
