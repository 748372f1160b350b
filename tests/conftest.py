"""Keeps the memory of the test process flat."""

import keras
import pytest


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_code():
    """JAX holds all that it has ever compiled: gigabytes after a few thousand tests."""
    yield
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()
