"""What the tests against other libraries share: the data, and how to get at a value or a module."""

import importlib
import importlib.util
import sys

import numpy as np
import pytest
from backend_tools import array
from cases import Case
from keras import ops

import kerasloss

Z = {"from_logits": True}
FOREGROUND = (0, 1, 1)


def data(channels, space=(16, 13)):
    """One-hot target and logits of two images, in which every class occurs."""
    y_true, z, _ = Case(channels, space=space, target="one_hot", options=Z).data(seed=80)
    assert np.all(y_true.sum(axis=tuple(range(1, y_true.ndim - 1))) > 0)
    return y_true, z


def check(ours, theirs, rtol=2e-5):
    np.testing.assert_allclose(array(ours), theirs, rtol=rtol, atol=1e-6)


def number(value):
    return float(array(ops.mean(ops.convert_to_tensor(value))))


def name(item):
    if isinstance(item, dict):
        return ",".join(f"{key}={value}" for key, value in item.items()) or "default"
    if isinstance(item, kerasloss.losses.SegmentationLoss):
        return type(item).__name__
    return str(item)


def alone(package, module):
    """A module of a package whose `__init__` would want more than is there."""
    if package not in sys.modules:
        spec = importlib.util.find_spec(package)
        if spec is None:
            pytest.skip(f"{package} is not installed")
        sys.modules[package] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"{package}.{module}")


def nothing(found=0.0):
    """An empty target, and a prediction of that probability everywhere, as logits and not."""
    y_true = np.zeros((1, 16, 16, 1), "float32")
    p = np.full_like(y_true, found)
    return y_true, p, np.where(p > 0.5, 100.0, -100.0).astype("float32")
