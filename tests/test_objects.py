"""The size of connected objects against SciPy's labels, on every backend."""

import numpy as np
import pytest
from backend_tools import array, jit
from keras import ops
from scipy import ndimage

from kerasloss.ops import objects
from kerasloss.ops.objects import object_size


def expected_size(inside, values):
    result = np.zeros(values.shape, "float32")
    for image, (mask, value) in enumerate(zip(inside, values, strict=True)):
        labels, count = ndimage.label(mask, structure=np.ones([3] * mask.ndim))
        for label in range(1, count + 1):
            result[image][labels == label] = value[labels == label].max()
    return result


def snake(size):
    """Every second row, joined at alternating ends: one object with a bend per row."""
    mask = np.zeros((size, size), bool)
    mask[::2] = True
    mask[1::4, -1] = mask[3::4, 0] = True
    return mask


def spiral(size):
    mask = np.zeros((size, size), bool)
    top, left, bottom, right = 0, 0, size - 1, size - 1
    while top <= bottom and left <= right:
        mask[top, max(left - 2, 0) : right + 1] = True
        mask[top : bottom + 1, right] = True
        mask[bottom, left : right + 1] = True
        mask[top + 2 : bottom + 1, left] = True
        top, left, bottom, right = top + 2, left + 2, bottom - 2, right - 2
    return mask


def zigzag(size):
    """One pixel wide and joined at corners only."""
    mask = np.zeros((size, size), bool)
    for column in range(size):
        mask[abs(column % 12 - 6) + 3, column] = True
    return mask


RNG = np.random.default_rng(0)
MASKS = {
    "snake": snake(25)[None],
    "spiral": np.stack([spiral(25), spiral(25).T, spiral(25)[::-1]]),
    "zigzag": np.stack([zigzag(25), zigzag(25).T]),
    "noise": RNG.random((3, 25, 25)) < 0.4,
    "line": RNG.random((2, 60)) < 0.8,
    "volume": RNG.random((2, 9, 10, 8)) < 0.12,
    "empty": np.zeros((1, 6, 5), bool),
    "full": np.ones((1, 6, 5), bool),
    "one column": RNG.random((2, 30, 1)) < 0.7,
}


@pytest.mark.parametrize("name", MASKS)
def test_equals_labels(name):
    inside = MASKS[name]
    values = np.random.default_rng(1).random(inside.shape).astype("float32")
    tensors = ops.convert_to_tensor(inside), ops.convert_to_tensor(values)
    actual = array(jit(object_size)(*tensors))
    np.testing.assert_array_equal(actual, expected_size(inside, values))
    np.testing.assert_array_equal(array(tensors[1]), values)  # left as it was


@pytest.mark.parametrize("name", ["snake", "noise", "volume"])
def test_way_of_an_accelerator(name, monkeypatch):
    """What a GPU would run, on the CPU."""
    monkeypatch.setattr(objects, "host_array", lambda tensor: None)
    monkeypatch.setattr(objects, "on_accelerator", lambda: True)
    inside = MASKS[name]
    values = np.random.default_rng(2).random(inside.shape).astype("float32")
    tensors = ops.convert_to_tensor(inside), ops.convert_to_tensor(values)
    actual = array(jit(lambda *both: objects.object_size(*both))(*tensors))
    np.testing.assert_array_equal(actual, expected_size(inside, values))


def test_mask_is_one_object():
    """The shapes above would prove little if they fell apart."""
    for name in ("snake", "spiral", "zigzag"):
        for mask in MASKS[name]:
            assert ndimage.label(mask, structure=np.ones((3, 3)))[1] == 1
