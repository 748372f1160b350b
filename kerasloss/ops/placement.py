"""Where a tensor is, which decides how a distance is computed fastest."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasloss.ops.pixels import Tensor


def host_array(tensor: Tensor) -> np.ndarray[Any, Any] | None:
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
