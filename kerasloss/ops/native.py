"""What Keras has no word for, in that of its backend: the one place that imports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Tensor = Any


def gradient_norms(
    function: Callable[[Tensor], list[Tensor]],
    x: Tensor,
    chain: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Euclidean norms of the gradients of several scalars with respect to one tensor.

    Args:
        function: makes the scalars of the tensor.
        x: the tensor; taken for a constant, as are the norms.
        chain: makes of the tensor and a gradient that with respect to what lies behind the tensor.

    Returns:
        One norm a scalar, in one tensor of float32.
    """
    x = ops.cast(ops.stop_gradient(ops.convert_to_tensor(x)), "float32")
    found = _GRADIENTS[keras.backend.backend()](function, x)
    if chain is not None:
        found = [chain(x, gradient) for gradient in found]
    norms = [ops.sqrt(ops.sum(ops.square(gradient))) for gradient in found]
    return ops.stop_gradient(ops.stack(norms))


def _with_tensorflow(function: Callable[[Tensor], list[Tensor]], x: Tensor) -> list[Tensor]:
    import tensorflow as tf

    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(x)
        values = function(x)
    return [
        tape.gradient(value, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        for value in values
    ]


def _with_jax(function: Callable[[Tensor], list[Tensor]], x: Tensor) -> list[Tensor]:
    import jax

    values, pull_back = jax.vjp(function, x)
    return [
        pull_back([ops.cast(index == other, value.dtype) for other, value in enumerate(values)])[0]
        for index in range(len(values))
    ]


def _with_torch(function: Callable[[Tensor], list[Tensor]], x: Tensor) -> list[Tensor]:
    import torch

    # `torch.compile` has no word for several gradients of one graph.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def gradients(x: Tensor) -> list[Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            values = function(x)
        found = [
            torch.autograd.grad(value, x, retain_graph=True, allow_unused=True)[0]
            if value.requires_grad
            else None
            for value in values
        ]
        return [torch.zeros_like(x) if gradient is None else gradient for gradient in found]

    return list(gradients(x))


def across_replicas(value: Tensor) -> Tensor:
    """The sum over the replicas of a `tf.distribute` strategy; elsewhere the value itself.

    On JAX a step sees the whole batch, however many devices share it.
    """
    if keras.backend.backend() != "tensorflow":
        return value
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def is_traced() -> bool:
    """Whether PyTorch is at work on a graph for `torch.compile`, so that no value is known."""
    import torch

    return bool(torch.compiler.is_compiling())


_GRADIENTS: dict[str, Any] = {
    "tensorflow": _with_tensorflow,
    "jax": _with_jax,
    "torch": _with_torch,
}
