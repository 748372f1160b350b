"""What every weighting strategy must keep to, as a check to run on one of your own.

```python
def test_mine():
    kerasloss.testing.check_weighting(MyStrategy(temperature=0.5))
```
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasloss.callbacks import DynamicWeighting
from kerasloss.compound import Compound
from kerasloss.losses import CrossEntropy, Dice, IoU
from kerasloss.weighting import LogVariances, Seen, Weighting

__all__ = ["check_weighting", "feed"]

_LOSSES = {"ce": CrossEntropy, "dice": Dice, "iou": IoU}


def check_weighting(weighting: Weighting, terms: Sequence[str] = ("ce", "dice", "iou")) -> None:
    """Runs the contract of a strategy on the backend in use; takes a few seconds.

    - its config is JSON, and what is made of it gives the same weights;
    - `memory_for` gives arrays of float32 that are finite, and `update` keeps their names, shapes
      and dtype;
    - weights are finite and not negative, for ordinary values, for values that do not move, that
      are all 0, tiny, huge, or negative, and those of terms that are left out are 0;
    - `update` is pure: the same arguments give the same weights, and one object serves several
      compounds;
    - it trains a model, compiled as the backend compiles: validation changes nothing, a term that
      is NaN enters no memory, and a saved model continues as if it had not been saved.

    Args:
        weighting: the strategy.
        terms: names to try it with, three at most; for a strategy that depends on the names.

    Raises:
        AssertionError: with the point that does not hold.
    """
    terms = tuple(terms)
    assert isinstance(weighting, Weighting), "a strategy is a subclass of Weighting"
    assert 2 <= len(terms) <= len(_LOSSES), "two or three terms are needed"
    restored = _check_config(weighting)
    _check_memory(weighting, terms)
    _check_weights(weighting, restored, terms)
    _check_training(weighting, terms)


def feed(
    weighting: Weighting,
    rows: Any,
    start: Any,
    terms: Sequence[str] | None = None,
    gradients: Any = None,
) -> np.ndarray[Any, Any]:
    """Returns the weights after each row of term values, shape `(rows, terms)`.

    Args:
        weighting: the strategy.
        rows: values of the terms, one row a step.
        start: starting weights; a term with 0 is left out.
        terms: their names.
        gradients: norms of their gradients, one row a step; by default as large as the values.
    """
    start = np.asarray(start, "float32")
    rows = np.asarray(rows, "float32")
    slopes = np.abs(rows) if gradients is None else np.asarray(gradients, "float32")
    names = tuple(terms or map(str, range(len(start))))
    weights = ops.convert_to_tensor(start)
    memory = {key: ops.convert_to_tensor(v) for key, v in weighting.memory_for(names).items()}
    kinds = _kinds(memory)
    collected = []
    for number, (row, slope) in enumerate(zip(rows, slopes, strict=True), start=1):
        seen = Seen(
            names,
            ops.convert_to_tensor(row),
            ops.convert_to_tensor(np.int32(number)),
            weights,
            ops.convert_to_tensor(start),
            ops.convert_to_tensor(slope) if weighting.sees_gradients else None,
        )
        weights, memory = weighting.advance(seen, memory)
        found = _kinds(memory)
        assert found == kinds, f"memory {kinds} has become {found}"
        assert tuple(weights.shape) == start.shape, f"{len(start)} weights expected, got {weights}"
        collected.append(_numpy(weights))
    return np.stack(collected)


def _check_config(weighting: Weighting) -> Weighting:
    text = json.dumps(keras.saving.serialize_keras_object(weighting))
    restored = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(restored) is type(weighting), (
        f"the config makes a {type(restored).__name__}: register the class with Keras"
    )
    assert json.dumps(keras.saving.serialize_keras_object(restored)) == text, (
        "a strategy made of the config has another config"
    )
    assert isinstance(restored, Weighting)
    return restored


def _check_memory(weighting: Weighting, terms: tuple[str, ...]) -> None:
    for name, value in weighting.memory_for(terms).items():
        assert isinstance(value, np.ndarray) and value.dtype == np.float32, (
            f"memory {name!r} must begin as a NumPy array of float32"
        )
        assert np.isfinite(value).all(), f"memory {name!r} must begin finite"


def _check_weights(weighting: Weighting, restored: Weighting, terms: tuple[str, ...]) -> None:
    count, rng = len(terms), np.random.default_rng(0)
    falling = np.exp(-np.linspace(0, 2, 12))[:, None] * rng.uniform(0.5, 2, (12, count))
    series = {
        "ordinary": falling,
        "constant": np.full((12, count), 0.5),
        "zero": np.zeros((12, count)),
        "tiny": 1e-30 * falling,
        "huge": 1e30 * falling,
        "negative": -falling,
        "mixed": falling * [1e-6, *[1e6] * (count - 1)],
    }
    equal = np.full(count, 1 / count)
    out = np.array([*[0.0] * (count - 1), 1.0])
    for kind, rows in series.items():
        for start in (equal, out):
            weights = feed(weighting, rows, start, terms)
            assert np.isfinite(weights).all(), f"values {kind}: weights not finite: {weights}"
            assert (weights >= 0).all(), f"values {kind}: negative weights: {weights}"
            assert not weights[:, start == 0].any(), f"values {kind}: weight for a term left out"
    first = feed(weighting, falling, equal, terms)
    for other, what in ((weighting, "called again"), (restored, "made of the config")):
        again = feed(other, falling, equal, terms)
        np.testing.assert_allclose(again, first, 1e-6, err_msg=f"{what}, it gives other weights")


class _Model:
    """A tiny model with the compound, and what a fit leaves."""

    def __init__(self, weighting: Weighting, terms: tuple[str, ...]) -> None:
        rng = np.random.default_rng(1)
        self.x = rng.random((8, 8, 8, 1)).astype("float32")
        self.y = (self.x > 0.6).astype("float32")
        losses = dict(zip(terms, (make() for make in _LOSSES.values()), strict=False))
        self.loss = Compound(losses, weighting=weighting)
        layers = [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(
                1, 3, padding="same", activation="sigmoid", kernel_initializer="ones"
            ),
        ]
        if weighting.learns:
            layers.append(LogVariances(terms))
        self.model = keras.Sequential(layers)
        self.model.compile(keras.optimizers.SGD(0.5), loss=self.loss)

    def fit(self, **options: Any) -> dict[str, Any]:
        options = {"epochs": 2, "batch_size": 2, "shuffle": False, "verbose": 0} | options
        history = self.model.fit(self.x, self.y, callbacks=[DynamicWeighting()], **options)
        return {name: np.asarray(values, "float64") for name, values in history.history.items()}

    def held(self) -> list[Any]:
        return [_numpy(variable.value) for variable in self.loss._state.saved_variables]


def _check_training(weighting: Weighting, terms: tuple[str, ...]) -> None:
    plain, validated = _Model(weighting, terms), _Model(weighting, terms)
    logs = plain.fit()
    seen = validated.fit(validation_data=(plain.x, 1 - plain.y))
    for term in terms:
        assert np.isfinite(logs[f"weight/{term}"]).all(), "weights of a training are not finite"
        np.testing.assert_array_equal(
            seen[f"weight/{term}"], logs[f"weight/{term}"], "validation changes the weights"
        )
    before = validated.held()
    validated.model.evaluate(plain.x, 1 - plain.y, verbose=0)
    for old, new in zip(before, validated.held(), strict=True):
        np.testing.assert_array_equal(new, old, "`evaluate` changes what is remembered")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.keras")
        plain.model.save(path)
        expected = plain.fit()
        plain.model = keras.saving.load_model(path)
        for name, values in plain.fit().items():
            np.testing.assert_allclose(
                values, expected[name], 1e-5, err_msg=f"a saved model continues otherwise: {name}"
            )
    validated.x[:] = np.nan
    assert validated.fit(epochs=1)["skipped_steps"][-1] == 4, "a step with NaN must be skipped"
    after = validated.held()
    assert all(np.isfinite(value).all() for value in after), "NaN got into what is remembered"


def _kinds(memory: dict[str, Any]) -> dict[str, Any]:
    return {
        name: (tuple(value.shape), keras.backend.standardize_dtype(value.dtype))
        for name, value in memory.items()
    }


def _numpy(tensor: Any) -> np.ndarray[Any, Any]:
    return np.array(ops.convert_to_numpy(ops.stop_gradient(tensor)))
