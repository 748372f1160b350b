"""Trains one trial: a recipe in, the score of every epoch out. Lives in a worker process."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

import kerasloss
from kerasloss_search import models, recipes, scores
from kerasloss_search.augment import Batches
from kerasloss_search.dataset import IGNORED, Dataset
from kerasloss_search.jobs import Epoch, Result, Settings
from kerasloss_search.space import Recipe

__all__ = ["Bench"]


class Bench:
    """A network, its data and its compiled step, kept from trial to trial.

    Before each trial all variables are set back to what they were at the start, the optimiser's and
    the random generators' included.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = Dataset.load_npz(settings.data)
        self._common: dict[str, object] = {"from_logits": settings.from_logits}
        if (self.data.masks == IGNORED).any():
            self._common["ignore_class"] = IGNORED
        self.batches = Batches(
            self.data.images[self.data.train],
            self.data.masks[self.data.train],
            batch_size=settings.batch_size,
            seed=settings.seed,
            augment=settings.augment,
            crop=settings.crop,
        )
        self._build()

    def _build(self) -> None:
        keras.utils.set_random_seed(self.settings.seed)
        shape = (self._side(), self._side(), self.data.images.shape[-1])
        builder = models.from_name(self.settings.model)
        channels = 1 if self.data.classes == 2 else self.data.classes
        image = self.data.images[self.data.train[0]]
        inputs = (None, None, shape[-1]) if self.settings.crop else shape
        with _hasty_compilation():
            self.net = models.checked(
                builder(inputs, channels, **self.settings.model_options),
                image,
                self.data.classes,
                from_logits=self.settings.from_logits,
            )
        self._initial = [keras.ops.convert_to_numpy(v.value) for v in self.net.variables]
        optimizer = keras.optimizers.Adam()
        loss = recipes.every_term(self.settings.space, self._common)
        self.net.compile(optimizer, loss=loss)
        optimizer.build(self.net.trainable_variables)

    def _side(self) -> int:
        return int(self.data.images.shape[1])

    def run(self, recipe: Recipe, report: Callable[[Epoch], bool]) -> Result:
        """Trains from the common start; `report` sees every epoch and returns whether to go on.

        Afterwards the network holds the weights of the best epoch.
        """
        started = time.perf_counter()
        self._restart(recipe)
        watch = _Watch(self, report)
        self.net.fit(
            self.batches,
            epochs=self.settings.epochs,
            # `Batches` shuffles by its own seed; that of Keras goes on from trial to trial.
            shuffle=False,
            verbose=0,
            callbacks=[kerasloss.DynamicWeighting(), watch],
        )
        if watch.best_weights is not None:
            self._set(watch.best_weights)
        return Result(watch.outcome, watch.best, watch.best_epoch, time.perf_counter() - started)

    def predict(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Classes of every pixel, in batches of one size so that nothing is compiled twice."""
        size = self.settings.batch_size
        labels = []
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            padding = np.zeros((size - len(batch), *batch.shape[1:]), batch.dtype)
            prediction = self.net.predict_on_batch(np.concatenate([batch, padding]))
            labels.append(
                scores.to_labels(prediction, from_logits=self.settings.from_logits)[: len(batch)]
            )
        return np.concatenate(labels)

    def scores_of(self, part: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], float]:
        """Dice of every image of a part, and the share of pixels predicted as foreground."""
        predicted = self.predict(self.data.images[part])
        truth = self.data.masks[part]
        return scores.dice_per_image(truth, predicted, self.data.classes), float(
            (predicted > 0).mean()
        )

    def save_weights(self, path: Path) -> None:
        """Writes the network's present weights."""
        arrays = [keras.ops.convert_to_numpy(v.value) for v in self.net.variables]
        np.savez(path, *arrays)

    def load_weights(self, path: Path) -> None:
        """Reads what `save_weights` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            self._set([stored[name] for name in stored.files])

    def export(self, recipe: Recipe, folder: Path) -> None:
        """Writes the loss and, with the present weights, a model that loads anywhere."""
        kerasloss.save(recipes.standalone(recipe, self._common), folder / "best_loss.json")
        model = keras.Model(self.net.inputs, self.net.outputs)
        model.save(folder / "best_model.keras")

    def _restart(self, recipe: Recipe) -> None:
        """Sets the compiled step to the recipe, and everything that it changes to the start."""
        recipes.apply(self.net.loss, recipe)
        self._set(self._initial)
        for variable in self.net.optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
        self.net.optimizer.learning_rate = recipe.learning_rate
        self.batches.reset(self.settings.seed)

    def _set(self, values: list[npt.NDArray[Any]]) -> None:
        for variable, value in zip(self.net.variables, values, strict=True):
            variable.assign(value)


@contextlib.contextmanager
def _hasty_compilation() -> Iterator[None]:
    """Spends little on what runs once.

    JAX compiles a kernel for every shape of initial weights; optimising those took five times as
    long as building the network otherwise does.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    former = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", former)


class _Watch(keras.callbacks.Callback):
    """Scores the network after every epoch, keeps the best weights, and stops on demand."""

    def __init__(self, bench: Bench, report: Callable[[Epoch], bool]) -> None:
        super().__init__()
        self._bench = bench
        self._report = report
        self.outcome = "complete"
        self.best = -math.inf
        self.best_epoch = -1
        self.best_weights: list[npt.NDArray[Any]] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        if not math.isfinite(numbers["loss"]):
            self._stop("diverged")
            return
        values, foreground = self._bench.scores_of(self._bench.data.validation)
        score = float(values.mean())
        if score > self.best:
            self.best, self.best_epoch = score, epoch
            self.best_weights = [
                keras.ops.convert_to_numpy(v.value).copy() for v in self._bench.net.variables
            ]
        if not self._report(Epoch(epoch, score, foreground, numbers)):
            self._stop("stopped")

    def _stop(self, outcome: str) -> None:
        self.outcome = outcome
        self.model.stop_training = True
