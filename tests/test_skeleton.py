"""`kerasloss.ops.soft_skeleton` against SciPy's filters, and what a skeleton should be."""

import numpy as np
import oracle
import pytest
from backend_tools import array, grad, jit
from keras import ops
from test_gradients import central_differences

import kerasloss
from kerasloss.ops import soft_skeleton

SHAPES = [(2, 13), (3, 9, 12), (2, 6, 7, 5), (1, 1, 8), (1, 1), (2, 2, 2, 1), (1, 8, 1, 2)]


def random_image(shape, seed=0, values=None):
    rng = np.random.default_rng([seed, *shape])
    image = rng.random(shape) if values is None else rng.choice(values, size=shape)
    return image.astype("float32")


@pytest.mark.parametrize("iterations", [0, 1, 3, 10])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("values", [None, [0.0, 1.0], [0.0, 0.5, 1.0]], ids=["real", "01", "ties"])
def test_value(shape, values, iterations):
    image = random_image(shape, values=values)
    expected = [oracle.soft_skeleton(one.astype("float64"), iterations) for one in image]
    np.testing.assert_allclose(array(soft_skeleton(image, iterations)), expected, atol=2e-6)


def test_bar_becomes_its_middle_line():
    bar = np.zeros((1, 9, 14))
    bar[0, 2:7, 1:13] = 1
    line = np.zeros((1, 9, 14))
    line[0, 4, 3:11] = 1
    np.testing.assert_array_equal(array(soft_skeleton(bar)), line)


def test_rod_becomes_its_middle_line():
    rod = np.zeros((1, 7, 7, 12), bool)
    rod[0, 2:5, 2:5, 2:10] = True
    line = np.zeros((1, 7, 7, 12))
    line[0, 3, 3, 3:9] = 1
    np.testing.assert_array_equal(array(soft_skeleton(rod)), line)


def test_border_does_not_thin():
    """A bar that runs out of the image has the skeleton that the longer bar has there."""
    bar = np.zeros((1, 9, 40), "int32")
    bar[0, 3:6] = 1
    line = array(soft_skeleton(bar))
    np.testing.assert_array_equal(line[0, 4], np.ones(40))
    assert line.sum() == 40
    np.testing.assert_array_equal(array(soft_skeleton(bar[:, :, 5:20])), line[:, :, 5:20])


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_image_without_structure_has_no_skeleton(value):
    np.testing.assert_array_equal(array(soft_skeleton(np.full((1, 6, 6), value, "float32"))), 0)


def test_wider_than_the_iterations_leaves_no_trace():
    bar = np.zeros((1, 11, 30), "float32")
    bar[0, 1:10] = 1  # four erosions leave the middle line
    assert array(soft_skeleton(bar, 3)).sum() == 0
    assert array(soft_skeleton(bar, 4)).sum() > 10


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_float_dtype_stays(dtype):
    image = ops.cast(ops.convert_to_tensor(random_image((1, 8, 8))), dtype)
    skeleton = soft_skeleton(image)
    assert skeleton.dtype == image.dtype
    expected = oracle.soft_skeleton(array(image)[0].astype("float64"))
    np.testing.assert_allclose(array(skeleton)[0], expected, atol=2e-2)


def test_gradient_is_the_slope():
    """Where no two values are equal."""
    image, mix = random_image((1, 5, 6)).astype("float64"), random_image((1, 5, 6), seed=1)
    expected = central_differences(lambda x: (mix[0] * oracle.soft_skeleton(x[0], 3)).sum(), image)
    found = grad(
        lambda x: ops.sum(ops.convert_to_tensor(mix) * soft_skeleton(x, 3)), image.astype("float32")
    )
    assert abs(expected).max() > 0.5
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_gradient_of_equal_values_goes_to_one_of_them():
    """Shared out, it would be halves or quarters, as the backend likes it."""
    image = random_image((1, 9, 12), values=[0.0, 0.3, 0.6])
    found = grad(lambda x: ops.sum(soft_skeleton(x, 0)), image)
    assert np.any(found != 0)
    np.testing.assert_array_equal(found, np.round(found))


@pytest.mark.parametrize("shape", [(2, 13), (3, 9, 12), (2, 6, 7, 5)], ids=str)
def test_compiled(shape):
    image = ops.convert_to_tensor(random_image(shape))
    expected = array(soft_skeleton(image, 3))
    np.testing.assert_allclose(
        array(jit(lambda x: soft_skeleton(x, 3))(image)), expected, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(4,), (1, 2, 2, 2, 2)], ids=str)
def test_bad_rank_is_refused(shape):
    with pytest.raises(ValueError, match="soft_skeleton"):
        soft_skeleton(np.zeros(shape, "float32"))


@pytest.mark.parametrize("iterations", [-1, 2.0, True, None, "3"])
def test_bad_iterations_are_refused(iterations):
    with pytest.raises(ValueError, match="iterations"):
        kerasloss.ops.soft_skeleton(np.zeros((1, 4, 4), "float32"), iterations)
