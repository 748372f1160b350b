"""The three things that each backend spells differently: a gradient, a compiled call, float64."""

import contextlib
import tempfile

import keras
import numpy as np
from keras import ops

BACKEND = keras.backend.backend()

if BACKEND == "jax":
    import jax

    # Outside of jit, JAX compiles a `while_loop` anew at every call, seconds each for the distance
    # transform. With a cache it does so once a shape: a third of the time for the whole suite.
    _cache = tempfile.TemporaryDirectory(prefix="kerasloss-jax-")
    jax.config.update("jax_compilation_cache_dir", _cache.name)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def array(tensor):
    """The tensor as NumPy, half precision as float32 (NumPy has no bfloat16)."""
    if keras.backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16"):
        tensor = ops.cast(tensor, "float32")
    if BACKEND == "torch":
        # keras.ops.convert_to_numpy calls np.array(tensor), which NumPy 2 answers with a warning.
        return tensor.detach().cpu().numpy()
    return np.asarray(ops.convert_to_numpy(tensor))


def value_and_grad(fn, x):
    """`fn(x)` and its gradient, as NumPy, for a `fn` that returns a scalar tensor."""
    x = ops.convert_to_tensor(x)
    if BACKEND == "jax":
        value, gradient = jax.value_and_grad(fn)(x)
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = fn(x)
        gradient = tape.gradient(value, x)
    else:
        import torch

        x = x.detach().clone().requires_grad_(True)
        value = fn(x)
        (gradient,) = torch.autograd.grad(value, x)
        value = value.detach()
    return array(value), array(gradient)


def grad(fn, x):
    return value_and_grad(fn, x)[1]


def compiled_value_and_grad(fn):
    """`x -> (fn(x), gradient)` in NumPy, traced once a shape: for many steps of one loop."""
    if BACKEND == "jax":
        step = jax.jit(jax.value_and_grad(fn))
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        @tf.function
        def step(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = fn(x)
            return value, tape.gradient(value, x)
    else:
        return lambda x: value_and_grad(fn, x)
    return lambda x: tuple(array(result) for result in step(ops.convert_to_tensor(x)))


def jit(fn):
    """`fn` of tensors, compiled with XLA. Keras runs PyTorch eagerly: there it stays as it is."""
    if BACKEND == "jax":
        return jax.jit(fn)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(fn, jit_compile=True)
    return fn


@contextlib.contextmanager
def float64():
    """JAX makes float64 only inside this context; the other backends always can."""
    if BACKEND == "jax":
        with jax.enable_x64(True):
            yield
    else:
        yield
