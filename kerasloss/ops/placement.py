"""Where and how the backend computes, which decides what is fastest."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasloss.ops.native import is_traced


def host_array(tensor: Any) -> np.ndarray[Any, Any] | None:
    """The tensor as NumPy if its values are known and in the memory of the CPU, else None.

    Outside of a compiled step a loop of the graph would be traced, and on JAX compiled, anew at
    every call.
    """
    if keras.backend.backend() == "torch":
        return np.asarray(tensor.detach()) if tensor.device.type == "cpu" else None
    if on_accelerator():
        return None
    try:
        return np.asarray(tensor)
    except (NotImplementedError, TypeError, ValueError):
        return None  # what TensorFlow, JAX and Keras raise for a symbolic tensor


def on_accelerator() -> bool:
    """Whether a graph will run on a GPU or TPU (on PyTorch, whatever is not on the host)."""
    return keras.backend.backend() == "torch" or not keras.distribution.list_devices()[
        0
    ].startswith("cpu")


def compact(tensor: Any) -> Any:
    """The tensor with its last axis contiguous in memory, where that is ours to decide."""
    return tensor.contiguous() if keras.backend.backend() == "torch" else tensor


def is_eager() -> bool:
    """Whether every operation is a pass over memory of its own: kernels that do more pay there."""
    return str(keras.backend.backend()) == "torch"


def known_hard(target: Any) -> bool:
    """Whether all values are seen to be 0 or 1, where a look costs next to nothing."""
    if keras.backend.backend() != "torch" or target.device.type != "cpu" or is_traced():
        return False  # the values are not known yet, or waiting for them would stop the device
    return bool(target.detach().square().equal(target))
