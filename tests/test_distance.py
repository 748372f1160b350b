"""The distance transform against SciPy, on every backend, compiled and not."""

import keras
import numpy as np
import pytest
from backend_tools import array, grad, jit
from keras import ops
from scipy import ndimage

import kerasloss
from kerasloss.ops import distance

NEAR = 1e-3  # pixels


def scipy_distance(mask, spacing=None):
    """SciPy image by image; where an image has no pixel outside, 0 as documented."""
    return np.stack(
        [
            np.zeros(image.shape)
            if image.all()
            else ndimage.distance_transform_edt(image, sampling=spacing)
            for image in mask
        ]
    )


def discs(images, size, seed=0):
    """Bubbles of different sizes, some of them touching."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    mask = np.zeros((images, size, size), bool)
    for image in mask:
        for _ in range(size // 12):
            row, column = rng.uniform(0, size, 2)
            image |= (rows - row) ** 2 + (columns - column) ** 2 < rng.uniform(2, 14) ** 2
    return mask


def one_pixel(shape, value):
    mask = np.full(shape, not value)
    mask[(slice(None), *(size // 3 for size in shape[1:]))] = value
    return mask


def noise(shape, share, seed=0):
    return np.random.default_rng([seed, *shape]).random(shape) < share


MASKS = {
    "discs": discs(3, 67),
    "outside discs": ~discs(3, 67),
    "discs over several tiles": discs(2, 150, seed=1),
    "outside discs over several tiles": ~discs(2, 150, seed=1),
    "noise": noise((2, 33, 20), 0.5),
    "dense noise": noise((2, 33, 20), 0.98),
    "one pixel inside": one_pixel((2, 19, 30), True),
    "one pixel outside": one_pixel((2, 40, 140), False),
    "outside few discs far apart": ~np.pad(discs(1, 40), ((0, 0), (260, 20), (10, 240))),
    "far corner": np.pad(np.zeros((1, 1, 1), bool), ((0, 0), (0, 99), (69, 0)), constant_values=1),
    "empty": np.zeros((2, 9, 8), bool),
    "full": np.ones((2, 9, 8), bool),
    "one full of three": np.concatenate([discs(2, 24), np.ones((1, 24, 24), bool)]),
    "line": noise((3, 90), 0.9),
    "long line": one_pixel((1, 300), False),
    "volume": noise((2, 9, 21, 14), 0.9),
    "large volume": one_pixel((1, 35, 12, 40), False),
    "one column": noise((2, 40, 1), 0.9),
    "one row": noise((2, 1, 40), 0.9),
    "a single pixel": np.array([[[True]], [[False]]]),
}


@pytest.mark.parametrize("name", MASKS)
def test_equals_scipy(name):
    mask = MASKS[name]
    actual = jit(kerasloss.ops.distance_transform)(ops.convert_to_tensor(mask))
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    np.testing.assert_allclose(array(actual), scipy_distance(mask), atol=NEAR)


@pytest.mark.parametrize(
    ("name", "spacing"),
    [
        ("discs", (0.5, 2.0)),
        ("outside discs over several tiles", (3.0, 0.7)),
        ("outside discs over several tiles", (1e-9, 2e-9)),  # metres, as a microscope writes them
        ("noise", (4.0, 4.0)),
        ("far corner", (5.0, 0.2)),
        ("line", (0.25,)),
        ("volume", (3.0, 1.0, 0.8)),
        ("large volume", (0.1, 1.0, 12.0)),
        ("one full of three", (2.0, 1.0)),
        ("empty", (2.0, 1.0)),
    ],
)
def test_spacing_equals_scipy(name, spacing):
    mask = MASKS[name]
    actual = jit(lambda x: kerasloss.ops.distance_transform(x, spacing))(
        ops.convert_to_tensor(mask)
    )
    expected = scipy_distance(mask, spacing)
    np.testing.assert_allclose(array(actual), expected, atol=NEAR * min(spacing))


@pytest.mark.parametrize(
    ("name", "spacing"),
    [
        ("outside discs", None),
        ("outside few discs far apart", None),
        ("one full of three", (2.0, 0.5)),
        ("line", None),
        ("volume", (3.0, 1.0, 0.8)),
    ],
)
def test_way_of_an_accelerator(name, spacing, monkeypatch):
    """What a GPU would run, on the CPU: one search for the whole batch."""
    monkeypatch.setattr(distance, "host_array", lambda tensor: None)
    monkeypatch.setattr(distance, "on_accelerator", lambda: True)
    mask = MASKS[name]
    actual = jit(lambda x: distance.distance_transform(x, spacing))(ops.convert_to_tensor(mask))
    np.testing.assert_allclose(array(actual), scipy_distance(mask, spacing), atol=NEAR)


def test_one_spacing_for_all_axes():
    mask = MASKS["volume"]
    actual = array(kerasloss.ops.distance_transform(mask, spacing=2.5))
    np.testing.assert_allclose(actual, 2.5 * scipy_distance(mask), rtol=1e-6)


def test_without_a_compiler():
    mask = MASKS["outside discs"]
    actual = array(kerasloss.ops.distance_transform(mask))
    np.testing.assert_allclose(actual, scipy_distance(mask), atol=NEAR)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float16", "float32"])
def test_dtype_of_the_mask(dtype):
    mask = MASKS["noise"]
    given = mask.astype(dtype) * (1 if dtype == "bool" else 3)
    actual = array(kerasloss.ops.distance_transform(given))
    np.testing.assert_allclose(actual, scipy_distance(mask), atol=NEAR)


def test_no_gradient_flows_through_it():
    y = np.random.default_rng(0).random((1, 6, 5)).astype("float32")
    gradient = grad(lambda x: ops.sum(x + kerasloss.ops.distance_transform(x)), y)
    np.testing.assert_array_equal(gradient, np.ones_like(y))


def test_the_mask_is_not_changed():
    mask = ops.convert_to_tensor(MASKS["noise"])
    kerasloss.ops.distance_transform(mask)
    np.testing.assert_array_equal(array(mask), MASKS["noise"])


@pytest.mark.parametrize("shape", [(4,), (1, 2, 2, 2, 2)])
def test_rank_is_refused(shape):
    with pytest.raises(ValueError, match="one to three space axes") as error:
        kerasloss.ops.distance_transform(np.ones(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 1.0, 1.0), (0.0, 1.0), (1.0, -2.0), 0.0])
def test_bad_spacing_is_refused(spacing):
    with pytest.raises(ValueError, match="spacing"):
        kerasloss.ops.distance_transform(np.ones((1, 4, 4)), spacing=spacing)
