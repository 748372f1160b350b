"""Networks: the compact U-Net, functions of the user's own, and the check of what they return."""

import sys

import keras
import numpy as np
import pytest
from kerasloss_search import models

pytestmark = pytest.mark.backend


def net(channels, activation, shape=(16, 16, 1)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, keras.layers.Conv2D(channels, 1, activation=activation)(inputs))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((16, 16, 1), dtype="float32")


@pytest.mark.parametrize("channels", [1, 3])
def test_unet_ends_in_probabilities(image, channels):
    model = models.unet((16, 16, 1), channels, width=4, depth=2)
    mask = keras.ops.convert_to_numpy(model(image[None]))
    assert mask.shape == (1, 16, 16, channels)
    assert (mask > 0).all() and (mask < 1).all()
    if channels > 1:
        np.testing.assert_allclose(mask.sum(-1), 1.0, rtol=1e-5)


def test_unet_refuses_sides_it_cannot_halve():
    with pytest.raises(ValueError, match="divisible by 8"):
        models.unet((20, 24, 1), 1, depth=3)


@pytest.mark.parametrize(
    ("channels", "activation", "classes", "from_logits"),
    [
        (1, "sigmoid", 2, False),
        (2, "softmax", 2, False),
        (3, "softmax", 3, False),
        (3, None, 3, True),
    ],
)
def test_a_fitting_model_passes(image, channels, activation, classes, from_logits):
    given = net(channels, activation)
    model = models.checked(given, image * 4 - 2, classes, from_logits=from_logits)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(image[None])),
        keras.ops.convert_to_numpy(given(image[None])),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("channels", "activation", "classes", "from_logits", "words"),
    [
        (3, "softmax", 2, False, "1 or 2"),
        (1, "sigmoid", 3, False, r"\(batch, 16, 16, 3\)"),
        (3, None, 3, False, "--from-logits"),
        (3, "sigmoid", 3, False, "probabilities"),
        (1, "sigmoid", 2, True, "Leave out --from-logits"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    image, channels, activation, classes, from_logits, words
):
    keras.utils.set_random_seed(0)
    with pytest.raises(ValueError, match=words):
        models.checked(net(channels, activation), image * 8 - 4, classes, from_logits=from_logits)


def test_logits_that_start_at_zero_are_logits(image):
    inputs = keras.Input((16, 16, 1))
    outputs = keras.layers.Conv2D(1, 1, kernel_initializer="zeros")(inputs)
    models.checked(keras.Model(inputs, outputs), image, 2, from_logits=True)
    with pytest.raises(ValueError, match="Give --from-logits"):
        models.checked(keras.Model(inputs, outputs), image, 2, from_logits=False)


def test_a_model_of_another_size_or_kind_is_refused(image):
    inputs = keras.Input((16, 16, 1))
    half = keras.Model(inputs, keras.layers.Conv2D(1, 2, strides=2, activation="sigmoid")(inputs))
    with pytest.raises(ValueError, match=r"Received: \(1, 8, 8, 1\)"):
        models.checked(half, image, 2, from_logits=False)
    with pytest.raises(ValueError, match="keras.Model"):
        models.checked("no model", image, 2, from_logits=False)


def test_functions_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text("def tiny(shape, channels):\n    return shape, channels\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert models.from_name("unet") is models.unet
    assert models.from_name("my_nets:tiny")((8, 8, 1), 1) == ((8, 8, 1), 1)
    sys.modules.pop("my_nets")
    for name, words in (("my_nets:other", "other"), ("none:tiny", "none"), ("my_nets", "package")):
        with pytest.raises(ValueError, match=words):
            models.from_name(name)
