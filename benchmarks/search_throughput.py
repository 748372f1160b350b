"""Trials an hour of the search against a plain script; a part of `benchmarks/search.py`."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import optuna
from kerasloss_search import recipes, scores
from kerasloss_search.augment import Batches
from kerasloss_search.data import DataOptions, load
from kerasloss_search.dataset import Dataset
from kerasloss_search.driver import Driver
from kerasloss_search.executor import LocalPool
from kerasloss_search.jobs import Settings
from kerasloss_search.models import unet
from kerasloss_search.records import Record
from kerasloss_search.space import Recipe, Space
from kerasloss_search.study import Study
from kerasloss_search.synthetic import write_micrographs
from kerasloss_search.tracking import Tracker
from kerasloss_search.trial import Bench

import kerasloss


def throughput(options: argparse.Namespace) -> None:
    """The whole engine, with its study, its tracking and its worker process."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        settings = small_search(folder, options.epochs)
        progress = _Quiet()
        started = time.perf_counter()
        # The plain script stops no trial early, either.
        study = Study(
            folder, settings.space, identity={}, epochs=options.epochs, seed=0, pruning=False
        )
        pool = LocalPool(settings, workers=1, backend=options.backend, log=folder / "log")
        tracker = Tracker(folder, uri=None, experiment="benchmark")
        tracker.start_study({}, {})
        try:
            Driver(study, pool, tracker, folder, progress).search(options.trials)
        finally:
            pool.close()
        all_ours = (time.perf_counter() - started) / options.trials
        tracker.close(timeout_s=30.0)
        wanted = [record.recipe for record in study.records[-options.plain_trials :]]
        all_plain = _plain_script(wanted, settings, folder)
    moments = [*progress.moments]
    steps = sorted(after - before for before, after in zip(moments, moments[1:], strict=False))
    steady = steps[len(steps) // 2]
    print(f"{options.backend}: {options.epochs} epochs a trial, {options.trials} trials")
    _line("plain script", all_plain, all_plain)
    _line("search, start and compiling included", all_ours, all_plain)
    _line("search, median trial", steady, all_plain)


def riding(options: argparse.Namespace) -> None:
    """One step in which unused terms ride along against a step for every combination of terms."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        settings = small_search(folder, options.epochs)
        wanted = _recipes(settings.space, options.trials)
        own = _OwnSteps(**vars(settings.space))
        benches = [Bench(settings), Bench(dataclasses.replace(settings, space=own))]
        shared, alone = (_seconds(bench, wanted) for bench in benches)
        # Once more those whose steps are still there: in turns, since the machine has moods.
        again = [[_seconds(bench, [recipe])[0] for bench in benches] for recipe in wanted[-6:] * 3]
    structures = len({own.structure(recipe) for recipe in wanted})
    print(f"{options.backend}: {len(wanted)} trials, {structures} combinations of terms")
    _line("a step for every combination", sum(alone) / len(alone), sum(alone) / len(alone))
    _line("one step for all", sum(shared) / len(shared), sum(alone) / len(alone))
    ratios = sorted(ours / theirs for ours, theirs in again)
    print(f"  once compiled, riding along takes {ratios[len(ratios) // 2]:.2f} x as long")


@dataclasses.dataclass(frozen=True)
class _OwnSteps(Space):
    """A space in which no term rides along."""

    def structure(self, recipe: Recipe) -> tuple[str, ...]:
        return tuple(sorted(recipe.terms))


def _seconds(bench: Bench, wanted: list[Recipe]) -> list[float]:
    found, settings = [], bench.settings
    for recipe in wanted:
        if isinstance(settings.space, _OwnSteps):
            # Only the terms in use are in its step; a space of its own would refuse a single one.
            space = dataclasses.replace(settings.space)
            terms = {name: settings.space.terms[name] for name in recipe.terms}
            object.__setattr__(space, "terms", terms)
            bench.settings = dataclasses.replace(settings, space=space)
        begun = time.perf_counter()
        bench.run(recipe, lambda epoch: True)
        found.append(time.perf_counter() - begun)
    bench.settings = settings
    return found


def small_search(folder: Path, epochs: int) -> Settings:
    """Settings of a small network on synthetic images, whose data is written into the folder."""
    write_micrographs(folder / "set", count=48, size=64, seed=0)
    dataset = load(DataOptions(folder / "set" / "images", folder / "set" / "masks", size=64))
    dataset.save(folder / "data.npz")
    space = Space(steps=epochs * 4)
    return Settings(folder / "data.npz", space, epochs=epochs, model_options={"width": 8})


def _recipes(space: Space, count: int) -> list[Recipe]:
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    distributions = {name: _distribution(limits) for name, limits in space.dimensions.items()}
    return [space.decode(study.ask(distributions).params) for _ in range(count)]


def _distribution(limits: Any) -> optuna.distributions.BaseDistribution:
    if hasattr(limits, "options"):
        return optuna.distributions.CategoricalDistribution(limits.options)
    return optuna.distributions.FloatDistribution(limits.low, limits.high, log=limits.log)


def _plain_script(wanted: list[Recipe], settings: Settings, folder: Path) -> float:
    """Seconds a trial of an Optuna study whose objective builds, compiles and fits."""
    left = list(wanted)

    def objective(trial: optuna.Trial) -> float:
        recipe = left.pop()
        trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        return _plain_trial(recipe, settings)

    study = optuna.create_study(storage=f"sqlite:///{folder}/plain.db", direction="maximize")
    started = time.perf_counter()
    study.optimize(objective, n_trials=len(wanted))
    return (time.perf_counter() - started) / len(wanted)


def _plain_trial(recipe: Recipe, settings: Settings) -> float:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    data = Dataset.load_npz(settings.data)
    batches = Batches(
        data.images[data.train], data.masks[data.train], batch_size=settings.batch_size, seed=0
    )
    model = unet(data.images.shape[1:], 1, **settings.model_options)
    loss = recipes.standalone(settings.space, recipe, {})
    model.compile(keras.optimizers.Adam(recipe.learning_rate), loss=loss)
    found: list[float] = []

    class Score(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            images, masks = data.pixels(data.validation), data.masks[data.validation]
            predicted = scores.to_labels(self.model.predict(images, batch_size=8, verbose=0))
            found.append(float(scores.dice_per_image(masks, predicted, 2).mean()))

    callbacks: list[keras.callbacks.Callback] = [Score()]
    if isinstance(loss, kerasloss.Compound):
        callbacks.append(kerasloss.DynamicWeighting())
    model.fit(batches, epochs=settings.epochs, shuffle=False, verbose=0, callbacks=callbacks)
    return max(found)


class _Quiet:
    """Notes when every trial ended."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def started(self, proposal: object) -> None: ...

    def ended(self, record: Record, best: Record | None) -> None:
        self.moments.append(time.perf_counter())

    def lost(self, number: int, reason: str) -> None: ...

    def finals(self, done: int, total: int) -> None: ...


def _line(name: str, seconds: float, plain: float) -> None:
    print(
        f"  {name:38} {seconds:6.2f} s a trial  {3600 / seconds:6.0f} trials an hour  "
        f"{plain / seconds:5.1f} x"
    )
