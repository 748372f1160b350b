"""float16 and bfloat16: the sums of large images, their gradients, and a mixed-precision training.

The references take the same half-precision inputs as float32: what is left is what the loss itself
does to them. That the value of each loss is right is asked elsewhere.
"""

import functools

import keras
import numpy as np
import pytest
from backend_tools import array, value_and_grad
from cases import LOSSES, some_on_each
from keras import ops
from test_contract import has, is_spatial

# Sums are in float32 for either; float16 is the narrower one.
HALVES = ["float16", pytest.param("bfloat16", marks=pytest.mark.once)]

# Without it a gradient of 1 / (512 * 512) is below what float16 can hold; Keras scales, too.
LOSS_SCALE = 2.0**14

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)


@functools.cache
def scene(space, channels):
    """A ball in an image, and logits that are multiples of 1/8: exact in all three dtypes."""
    rng = np.random.default_rng(120)
    radius = 0.1 * space[0]
    square = sum(
        (line - 0.55 * len(line.ravel())) ** 2 for line in np.ogrid[tuple(slice(n) for n in space)]
    )
    labels = (square < radius**2).astype("float32")[None]
    if channels > 1:
        labels += (square < (0.5 * radius) ** 2)[None]
    z = 2 * (labels[..., None] == np.arange(channels)) - 1 if channels > 1 else 2 * labels - 1
    z = z.reshape(*labels.shape, channels) + rng.normal(size=(*labels.shape, channels))
    return labels, (np.clip(np.round(8 * z), -32, 32) / 8).astype("float32")


@functools.cache
def evaluate(loss, space, channels, dtype):
    """Value, and gradient of the scaled loss, for logits of this dtype."""
    labels, z = scene(space, channels)
    cheap = {"iterations": 3} if has(loss, "iterations") else {}
    instance = loss(from_logits=True, **cheap)
    value, gradient = value_and_grad(
        lambda z: LOSS_SCALE * instance(labels, z), ops.cast(ops.convert_to_tensor(z), dtype)
    )
    return value / LOSS_SCALE, gradient


def check(loss, space, channels, dtype):
    value, gradient = evaluate(loss, space, channels, dtype)
    expected, slope = evaluate(loss, space, channels, "float32")
    assert expected > 1e-4
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert np.all(np.isfinite(gradient))
    # To the three digits that half precision has, against the largest of the image.
    np.testing.assert_allclose(gradient, slope, rtol=2e-2, atol=1e-3 * abs(slope).max())
    assert np.mean(gradient[slope != 0] != 0) > 0.5


@every_loss
@pytest.mark.parametrize("dtype", HALVES)
def test_large_image(loss, dtype):
    check(loss, (512, 512), 2, dtype)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    "loss",
    [
        # Distances and skeletons of so many voxels take seconds, and are in float32 everywhere.
        pytest.param(loss, id=loss.__name__, marks=pytest.mark.once if is_spatial(loss) else ())
        for loss in LOSSES
    ],
)
def test_volume(loss, dtype):
    """128 ** 3 ones are far beyond the 65504 that float16 can hold."""
    check(loss, (128, 128, 128), 1, dtype)


# ---- training -----------------------------------------------------------------------------------


@pytest.fixture
def mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


@some_on_each(LOSSES)
def test_training_step(loss, mixed_precision):
    rng = np.random.default_rng(121)
    x = rng.random((2, 16, 16, 1)).astype("float32")
    y = (x > 0.6).astype("float32")
    model = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Conv2D(1, 3, padding="same")])
    assert keras.backend.standardize_dtype(model(x).dtype) == "float16"
    model.compile("adam", loss=loss(from_logits=True))
    before = [array(weight.value).copy() for weight in model.trainable_variables]
    history = model.fit(x, y, batch_size=1, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for weight, start in zip(model.trainable_variables, before, strict=True):
        assert weight.dtype == "float32"
        assert np.all(np.isfinite(array(weight.value)))
        assert np.any(array(weight.value) != start), weight.path
