"""What losses see of a batch, class by class."""

import gc
import weakref

import numpy as np
import pytest
from backend_tools import array
from cases import Case, probabilities

from kerasloss.ops.parts import parts
from kerasloss.ops.pixels import prepare

PROPERTIES = ("probability", "rest", "log", "log_rest")


def read(case, **options):
    y_true, y_pred, _ = case.data(seed=70)
    pixels = prepare("test", y_true, y_pred, from_logits=bool(case.options))
    p = probabilities(y_pred.astype("float64")) if case.options else y_pred.astype("float64")
    return parts(pixels, **options), y_true, np.moveaxis(p, -1, 1)


@pytest.mark.parametrize("from_logits", [False, True], ids=["probabilities", "logits"])
@pytest.mark.parametrize("channels", [1, 2, 5, 10])
def test_parts(channels, from_logits):
    options = {"from_logits": True} if from_logits else {}
    for apart in (False, True):
        found, _, p = read(Case(channels, options=options), apart=apart)
        if channels == 1:
            p = np.concatenate([1 - p, p], axis=1)
        assert len(found) in ({len(p[0])} if apart else {1, len(p[0])})
        expected = (p, 1 - p, np.log(p), np.log1p(-p))
        for name, reference in zip(PROPERTIES, expected, strict=True):
            actual = np.concatenate([array(getattr(part, name)) for part in found], axis=1)
            np.testing.assert_allclose(actual, reference, rtol=3e-5, atol=1e-7)
        actual = np.concatenate([array(part.target) for part in found], axis=1)
        np.testing.assert_array_equal(actual.sum(axis=1), 1.0)


def test_logits_keep_what_probabilities_lose():
    z = np.array([[[[-80.0], [-30.0], [-3.0], [0.0], [3.0], [30.0], [80.0]]]], "float32")
    background, foreground = parts(prepare("test", z > 0, z, from_logits=True))
    exact = -np.logaddexp(0.0, -z.astype("float64")).reshape(-1)
    for part, log, log_rest in (
        (foreground, exact, exact[::-1]),
        (background, exact[::-1], exact),
    ):
        expected = (np.exp(log), np.exp(log_rest), log, log_rest)
        for name, reference in zip(PROPERTIES, expected, strict=True):
            actual = array(getattr(part, name)).reshape(-1)
            np.testing.assert_allclose(actual, reference, rtol=3e-6)


@pytest.mark.parametrize("channels", [1, 3, 10])
@pytest.mark.parametrize("apart", [False, True])
def test_nothing_outlives_its_step(channels, apart):
    """A circle of references would keep the tensors until the garbage collector comes."""
    gc.disable()
    try:
        found, _, _ = read(Case(channels, options={"from_logits": True}), apart=apart)
        for part in found:
            for name in PROPERTIES:
                getattr(part, name)
        alive = [weakref.ref(part) for part in found]
        del found, part
        assert [reference() for reference in alive] == [None] * len(alive)
    finally:
        gc.enable()
