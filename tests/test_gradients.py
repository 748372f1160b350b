"""Gradients of every loss on this backend against finite differences of the oracle, in float64.

Float64 lets the tolerance be tight enough to see a wrong term and not only a wrong sign.
"""

import cases
import numpy as np
import pytest
from backend_tools import array, float64, value_and_grad
from cases import COMPARED, Case, twin
from keras import ops

STEP = 1e-6


def central_differences(fn, x):
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = STEP
        gradient[index] = (fn(x + step) - fn(x - step)) / (2 * STEP)
    return gradient


def compare(loss, case, options):
    y_true, y_pred, weight = case.data(seed=30)
    y_pred = y_pred.astype("float64")
    mix = np.array([1.0, 0.4])  # a different factor for each image: none can hide behind another

    def reference(p):
        return mix @ cases.reference(loss)(y_true, p, weight, **options)

    def actual(p):
        values = twin(loss)(y_true, p, sample_weight=weight, **options)
        return ops.sum(ops.convert_to_tensor(mix, dtype="float64") * values)

    with float64():
        value, gradient = value_and_grad(actual, y_pred)
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(value, reference(y_pred), rtol=1e-6, atol=1e-9)
    expected = central_differences(reference, y_pred)
    # Not tighter: in places (ops.mean, ops.maximum) Keras on PyTorch goes through float32.
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6 * abs(expected).max())


@pytest.mark.parametrize("from_logits", [False, True], ids=["probabilities", "logits"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("loss", COMPARED, ids=lambda loss: loss.__name__)
def test_gradient(loss, channels, from_logits):
    options = {"from_logits": from_logits}
    # Several classes as labels: in the test of all options.
    for target in ("soft", "integers") if channels == 1 else ("soft",):
        compare(loss, Case(channels, space=(3, 3), target=target, options=options), options)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("loss", COMPARED, ids=lambda loss: loss.__name__)
def test_gradient_with_all_options(loss, channels):
    """Pixel weights, class weights, ignored pixels and logits at once."""
    class_weight = (1.0, 3.0) if channels == 1 else (1.0, 3.0, 0.5)
    options = {"from_logits": True, "ignore_class": 255, "class_weight": class_weight}
    compare(loss, Case(channels, space=(3, 3), weight="pixel", options=options), options)


@pytest.mark.parametrize(
    ("loss", "name", "value"),
    [(loss, *other) for loss in COMPARED for other in cases.other_values(loss)],
    ids=lambda item: getattr(item, "__name__", str(item)),
)
def test_gradient_of_other_hyper_parameters(loss, name, value):
    compare(loss, Case(1, space=(3, 3)), {name: value})


@pytest.mark.parametrize("loss", COMPARED, ids=lambda loss: loss.__name__)
def test_twin_keeps_float64(loss):
    y_true, y_pred, _ = Case(3, space=(3, 3)).data(seed=31)
    with float64():
        values = array(twin(loss)(y_true, y_pred.astype("float64")))
    assert values.dtype == np.float64
    expected = cases.reference(loss)(y_true, y_pred.astype("float64"))
    np.testing.assert_allclose(values, expected, rtol=1e-6)
