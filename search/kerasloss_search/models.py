"""Architectures: a compact U-Net, or whatever function the user names."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

__all__ = ["checked", "from_name", "unet"]

Builder = Callable[..., keras.Model]


def unet(
    input_shape: tuple[int, int, int], channels: int, *, width: int = 16, depth: int = 3
) -> keras.Model:
    """A compact U-Net that ends in probabilities.

    Args:
        input_shape: height, width and channels of an image; None for a side that varies.
        channels: 1 for a sigmoid, more for a softmax over classes.
        width: filters of the first level; each level below has twice as many.
        depth: number of times that the resolution is halved.

    Raises:
        ValueError: if a side is not divisible by `2 ** depth`.
    """
    for side in input_shape[:2]:
        if side is not None and side % 2**depth:
            raise ValueError(
                f"unet: expected sides divisible by {2**depth} (2 to the depth). "
                f"Received: {input_shape[0]} x {input_shape[1]} px."
            )
    image = keras.Input(input_shape, name="image")
    # The grey levels of a microscope fill a small part of 0 to 1; this spreads them. Groups, not
    # batches: running means of a batch would still lag behind when a short trial ends.
    x = layers.GroupNormalization(groups=1, name="levels")(image)
    skips = []
    for level in range(depth):
        x = _block(x, width * 2**level)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = _block(x, width * 2**depth)
    for level in reversed(range(depth)):
        x = layers.UpSampling2D(interpolation="bilinear")(x)
        x = layers.Concatenate()([x, skips[level]])
        x = _block(x, width * 2**level)
    activation = "sigmoid" if channels == 1 else "softmax"
    # float32 whatever the policy: half precision rounds probabilities near 1 to 1.
    mask = layers.Conv2D(channels, 1, activation=activation, dtype="float32", name="mask")(x)
    return keras.Model(image, mask, name="unet")


def _block(x: Any, filters: int) -> Any:
    for _ in range(2):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.GroupNormalization(groups=math.gcd(8, filters))(x)
        x = layers.Activation("relu")(x)
    return x


def from_name(name: str) -> Builder:
    """The function that `package.module:function` names.

    Raises:
        ValueError: if it cannot be found or called.
    """
    if name == "unet":
        return unet
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise ValueError(
            f"--model: expected `unet` or `package.module:function`. Received: {name!r}."
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as problem:
        raise ValueError(
            f"--model: cannot import {module_name!r}: {problem}. It is looked for where Python "
            "looks and in the folder the command is run in."
        ) from problem
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ValueError(f"--model: module {module_name!r} has no function {function_name!r}.")
    return function  # type: ignore[no-any-return]


def checked(model: Any, image: np.ndarray, classes: int, *, from_logits: bool) -> keras.Model:
    """Wraps a model so that it can be shared, after checking it on one image.

    Args:
        model: what the user's function returned.
        image: one image, shape (height, width, channels).
        classes: number of classes.
        from_logits: whether the user says that the model returns logits.

    Raises:
        ValueError: if output shape or activation are not what the losses will assume.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"--model: expected a keras.Model. Received: {type(model).__name__}.")
    shape = image.shape
    inputs = keras.Input(shape)
    output = np.asarray(keras.ops.convert_to_numpy(model(image[None])), "float32")
    allowed = (1, 2) if classes == 2 else (classes,)
    if output.shape[:3] != (1, *shape[:2]) or output.shape[-1] not in allowed:
        raise ValueError(
            f"--model: expected an output of shape (batch, {shape[0]}, {shape[1]}, "
            f"{' or '.join(map(str, allowed))}). Received: {output.shape}."
        )
    probabilities = output.min() >= 0.0 and output.max() <= 1.0
    if output.shape[-1] > 1:
        probabilities = probabilities and bool(np.allclose(output.sum(-1), 1.0, atol=1e-2))
    # A last layer that starts at zero gives logits of 0, which no sigmoid or softmax does.
    probabilities = probabilities and bool(output.any())
    if probabilities == from_logits:
        raise ValueError(
            "--model: expected "
            + ("logits" if from_logits else "probabilities (sigmoid or softmax)")
            + f". Received: values from {output.min():.3g} to {output.max():.3g} on one image. "
            + ("Leave out --from-logits." if from_logits else "Give --from-logits.")
        )
    return keras.Model(inputs, model(inputs), name="searched")
