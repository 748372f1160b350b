"""Trains one trial: a recipe in, the score of every epoch out. Lives in a worker process."""

from __future__ import annotations

import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

import kerasloss
from kerasloss_search import files, models, recipes, residence, scores
from kerasloss_search.augment import Batches
from kerasloss_search.dataset import IGNORED, Dataset
from kerasloss_search.jobs import KEPT_STEPS, Epoch, Final, Result, Settings
from kerasloss_search.space import Recipe
from kerasloss_search.split import fold_groups

__all__ = ["Bench", "hasty_compilation"]

Arrays = list[npt.NDArray[Any]]

# Distance maps are computed once, unless all of them together would take more than this.
_MAPS_BYTES = 2**30


class Bench:
    """A network, its data and its compiled steps, kept from trial to trial.

    Before each trial all variables are set back to what they were at the start, the optimiser's and
    the random generators' included.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = Dataset.load_npz(settings.data)
        self._common: dict[str, object] = {"from_logits": settings.from_logits}
        ignored = bool((self.data.masks == IGNORED).any())
        if ignored:
            self._common["ignore_class"] = IGNORED
        # A window has other distances than the whole image, and pixels that are left out bound the
        # background only where the distances are computed in the step.
        channels = 1 if self.data.classes == 2 else self.data.classes
        fit = 4 * (1 + channels) * self.data.masks.size <= _MAPS_BYTES
        self._maps = fit and settings.crop is None and not ignored
        # Twice: what is stored, and the epoch that is drawn from it.
        self._resident = residence.fits(2 * (self.data.images.size + self.data.masks.size))
        self._shown: dict[bytes, Any] = {}
        self._score = scores.SCORES[settings.scores[0]]
        self.net = self._network(settings.seed)
        self._starts = {settings.seed: _values(self.net.variables)}
        self._steps: OrderedDict[tuple[str, ...], tuple[keras.Model, Arrays]] = OrderedDict()
        self._batches: dict[tuple[bytes, bool], Batches] = {}

    def _network(self, seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        side, channels = self.data.images.shape[1], self.data.images.shape[-1]
        builder = models.from_name(self.settings.model)
        outputs = 1 if self.data.classes == 2 else self.data.classes
        inputs = (None, None, channels) if self.settings.crop else (side, side, channels)
        with hasty_compilation():
            return models.checked(
                builder(inputs, outputs, **self.settings.model_options),
                self.data.pixels(self.data.train[:1])[0],
                self.data.classes,
                from_logits=self.settings.from_logits,
            )

    def run(self, recipe: Recipe, report: Callable[[Epoch], bool]) -> Result:
        """Trains from the common start; `report` sees every epoch and returns whether to go on.

        With several folds it sees those of the first one: by then it is clear whether a trial is
        worth its time.
        """
        started, seed = time.perf_counter(), self.settings.seed
        found: list[dict[str, float]] = []
        for fold, (train, held) in enumerate(self.folds()):
            watch = self._fit(recipe, seed, train, held, report if fold == 0 else _go_on)
            if watch.outcome != "complete" or watch.best_weights is None:
                values = self._values_at_best(watch, held) if watch.best_weights else {}
                return Result(watch.outcome, values, watch.best_epoch, _since(started))
            found.append(self._values_at_best(watch, held))
        means = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        return Result("complete", means, watch.best_epoch, _since(started))

    def final(self, trial: int, recipe: Recipe, seed: int, stem: Path) -> Final:
        """Trains on the split from other initial weights, and judges on the test images.

        Leaves the predicted labels and the weights of the best epoch in files.
        """
        started = time.perf_counter()
        watch = self._fit(recipe, seed, self.data.train, self.data.validation, _go_on)
        if watch.outcome == "diverged" or watch.best_weights is None:
            # Of a seed, not of the machine: training once more would give the same.
            return Final(trial, seed, math.nan, {}, watch.curve, _since(started), diverged=True)
        self._set(watch.best_weights)
        predicted = self.predict(self.data.pixels(self.data.test))
        truth = self.data.masks[self.data.test]
        test = {
            name: score.per_image(truth, predicted, self.data.classes).tolist()
            for name, score in scores.SCORES.items()
            if name in self.settings.scores and score.per_image is not None
        }
        with files.whole(stem.with_suffix(".npz")) as path:
            np.savez_compressed(path, labels=predicted)
        with files.whole(stem.with_suffix(".weights.npz")) as path:
            np.savez(path, *watch.best_weights)
        return Final(trial, seed, watch.best, test, watch.curve, _since(started))

    def folds(self) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Training and validation images of every fold; test images are in none."""
        if self.settings.folds == 1:
            return [(self.data.train, self.data.validation)]
        pool = np.sort(np.concatenate([self.data.train, self.data.validation]))
        groups = [self.data.groups[index] for index in pool]
        parts = fold_groups(groups, self.settings.folds, seed=self.settings.seed)
        return [(np.delete(pool, part), pool[part]) for part in parts]

    def predict(self, images: Any) -> npt.NDArray[np.uint8]:
        """Classes of every pixel, in batches of one size so that nothing is compiled twice."""
        size = self.settings.batch_size
        join = np.concatenate if isinstance(images, np.ndarray) else keras.ops.concatenate
        labels = []
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            count = len(batch)
            if count < size:
                padding = np.zeros((size - count, *batch.shape[1:]), np.float32)
                batch = join([batch, padding])
            prediction = self.net.predict_on_batch(batch)
            labels.append(
                scores.to_labels(prediction, from_logits=self.settings.from_logits)[:count]
            )
        return np.concatenate(labels)

    def export(self, recipe: Recipe, weights: Path, folder: Path) -> None:
        """Writes the loss and, with the weights in a file, a model that loads anywhere."""
        with np.load(weights, allow_pickle=False) as stored:
            self._set([stored[name] for name in stored.files])
        loss = recipes.standalone(self.settings.space, recipe, self._common)
        kerasloss.save(loss, folder / "best_loss.json")
        with files.whole(folder / "best_model.keras") as path:
            keras.Model(self.net.inputs, self.net.outputs).save(path)

    def _fit(
        self,
        recipe: Recipe,
        seed: int,
        train: npt.NDArray[np.int64],
        held: npt.NDArray[np.int64],
        report: Callable[[Epoch], bool],
    ) -> _Watch:
        step = self._step(recipe, seed)
        watch = _Watch(self, held, report)
        step.fit(
            self._batches_of(train, seed, maps=recipes.takes_maps(step.loss)),
            epochs=self.settings.epochs,
            # `Batches` shuffles by its own seed; that of Keras goes on from trial to trial.
            shuffle=False,
            verbose=0,
            callbacks=[kerasloss.DynamicWeighting(), watch],
        )
        return watch

    def _step(self, recipe: Recipe, seed: int) -> keras.Model:
        """The compiled step of the recipe's structure, with everything that it changes reset."""
        structure = self.settings.space.structure(recipe)
        if structure not in self._steps:
            # Another model of the same layers: it shares their variables and has its own step.
            step = keras.Model(self.net.inputs, self.net.outputs)
            optimizer = keras.optimizers.get(recipe.optimizer)
            loss = recipes.compound_for(self.settings.space, recipe, self._common, maps=self._maps)
            step.compile(optimizer, loss=loss)
            optimizer.build(self.net.trainable_variables)
            self._steps[structure] = step, _values(optimizer.variables)
            while len(self._steps) > KEPT_STEPS:
                self._steps.popitem(last=False)
        self._steps.move_to_end(structure)
        step, optimizer_start = self._steps[structure]
        recipes.apply(step.loss, recipe)
        if seed not in self._starts:
            self._starts[seed] = _values(self._network(seed).variables)
        self._set(self._starts[seed])
        _assign(step.optimizer.variables, optimizer_start)
        step.optimizer.learning_rate = recipe.learning_rate
        return step

    def _batches_of(self, train: npt.NDArray[np.int64], seed: int, *, maps: bool) -> Batches:
        key = train.tobytes(), maps
        if key not in self._batches:
            masks = self.data.masks[train]
            if maps:
                channels = 1 if self.data.classes == 2 else self.data.classes
                masks = kerasloss.with_distance_maps(masks, classes=channels)
            self._batches[key] = Batches(
                self.data.images[train],
                masks,
                batch_size=self.settings.batch_size,
                seed=seed,
                augment=self.settings.augment,
                crop=self.settings.crop,
                resident=self._resident,
            )
        self._batches[key].reset(seed)
        return self._batches[key]

    def _values_at_best(self, watch: _Watch, held: npt.NDArray[np.int64]) -> dict[str, float]:
        """Every score of the search on validation images, with the weights of the best epoch."""
        values = {self._score.name: watch.best}
        others = [name for name in self.settings.scores if name != self._score.name]
        if scores.TIME in others:
            values[scores.TIME] = watch.seconds_to_best
        wanted = [scores.SCORES[name] for name in others if name != scores.TIME]
        if wanted and watch.best_weights is not None:
            self._set(watch.best_weights)
            predicted, truth = self.predict(self.data.pixels(held)), self.data.masks[held]
            for score in wanted:
                assert score.per_image is not None
                values[score.name] = float(
                    score.per_image(truth, predicted, self.data.classes).mean()
                )
        return values

    def validate(self, held: npt.NDArray[np.int64]) -> tuple[float, float]:
        """First score on some images, and the share of pixels predicted as foreground."""
        assert self._score.per_image is not None
        predicted = self.predict(self._pixels(held))
        values = self._score.per_image(self.data.masks[held], predicted, self.data.classes)
        return float(values.mean()), float((predicted > 0).mean())

    def _pixels(self, held: npt.NDArray[np.int64]) -> Any:
        """Images that are looked at after every epoch; on the device, if they stay there."""
        if not self._resident:
            return self.data.pixels(held)
        key = held.tobytes()
        if key not in self._shown:
            self._shown[key] = keras.ops.convert_to_tensor(self.data.pixels(held))
        return self._shown[key]

    def _set(self, values: Arrays) -> None:
        _assign(self.net.variables, values)


class _Watch(keras.callbacks.Callback):
    """Scores the network after every epoch, keeps the best weights, and stops on demand."""

    def __init__(
        self, bench: Bench, held: npt.NDArray[np.int64], report: Callable[[Epoch], bool]
    ) -> None:
        super().__init__()
        self._bench = bench
        self._held = held
        self._report = report
        self._sign = scores.SCORES[bench.settings.scores[0]].sign
        self._times: list[float] = []
        self.outcome = "complete"
        self.best = math.nan
        self.best_epoch = -1
        self.best_weights: Arrays | None = None
        self.curve: list[float] = []

    @property
    def seconds_to_best(self) -> float:
        """Training time to the best epoch; the first one, which compiles, counts as the others."""
        usual = self._times[1:] or self._times
        return float(np.median(usual)) * (self.best_epoch + 1)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._begun = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._times.append(_since(self._begun))
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        if not math.isfinite(numbers["loss"]):
            self._stop("diverged")
            return
        score, foreground = self._bench.validate(self._held)
        self.curve.append(score)
        if self.best_weights is None or self._sign * score > self._sign * self.best:
            self.best, self.best_epoch = score, epoch
            self.best_weights = [value.copy() for value in _values(self._bench.net.variables)]
        if not self._report(Epoch(epoch, score, foreground, numbers)):
            self._stop("stopped")

    def _stop(self, outcome: str) -> None:
        self.outcome = outcome
        self.model.stop_training = True


@contextlib.contextmanager
def hasty_compilation() -> Iterator[None]:
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


def _values(variables: list[Any]) -> Arrays:
    return [keras.ops.convert_to_numpy(variable.value) for variable in variables]


def _assign(variables: list[Any], values: Arrays) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _go_on(epoch: Epoch) -> bool:
    return True


def _since(started: float) -> float:
    return time.perf_counter() - started
