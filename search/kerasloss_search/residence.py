"""Whether a data set may stay in the memory of the device that computes."""

from __future__ import annotations

import keras

__all__ = ["device_bytes", "fits"]

# The network, its optimiser and its activations want the rest.
_SHARE = 0.25


def fits(values: int) -> bool:
    """Whether so many float32 values may stay on the accelerator; never without one."""
    return 0 < 4 * values <= _SHARE * device_bytes()


def device_bytes() -> int:
    """Memory of the accelerator that steps run on, in bytes; 0 where data is read on the host.

    That is on a CPU, where nothing has to be copied, and with TensorFlow, whose `fit` takes batches
    by way of the host.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        device = jax.local_devices()[0]
        known = None if device.platform == "cpu" else device.memory_stats()
        return int((known or {}).get("bytes_limit", 0))
    if backend == "torch":
        import torch

        return int(torch.cuda.mem_get_info()[1]) if torch.cuda.is_available() else 0
    return 0
