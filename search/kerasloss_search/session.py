"""One run of the command: data, workers, search, and the results in the output folder."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from kerasloss_search import data, report
from kerasloss_search.data import DataOptions, Dataset
from kerasloss_search.driver import Driver, Judged, SearchError
from kerasloss_search.executor import LocalPool, gpu_count
from kerasloss_search.jobs import Settings
from kerasloss_search.progress import TerminalProgress
from kerasloss_search.space import Range, Space
from kerasloss_search.study import Study
from kerasloss_search.tracking import Tracker, checked_uri

__all__ = ["Options", "choose_backend", "run"]

_SAMPLES = 4


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    data: DataOptions
    output: Path
    trials: int = 30
    epochs: int = 20
    batch_size: int = 8
    workers: int = 1
    seed: int = 0
    backend: str | None = None
    model: str = "unet"
    width: int = 16
    depth: int = 3
    from_logits: bool = False
    crop: int | None = None
    augment: bool = True
    terms: tuple[str, ...] = ()
    tracking_uri: str | None = None
    command: str = "kerasloss-search run"
    model_options: dict[str, int] = field(default_factory=dict)


def choose_backend(wanted: str | None) -> str:
    """The Keras backend: the one asked for, else what Keras is set to, else the first installed.

    JAX stands first because a search is fastest there.

    Raises:
        SearchError: if it is not installed.
    """
    installed = [name for name in ("jax", "tensorflow", "torch") if importlib.util.find_spec(name)]
    wanted = wanted or os.environ.get("KERAS_BACKEND") or _configured()
    if wanted is None and installed:
        return installed[0]
    if wanted not in installed:
        raise SearchError(
            f"no Keras backend {wanted or ''} is installed: "
            f'pip install "kerasloss[{wanted or "jax"}]"'
        )
    return wanted


def _configured() -> str | None:
    """The backend in the user's Keras configuration file."""
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        found = json.loads((home / "keras.json").read_text())["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found)


def run(options: Options, console: Console) -> int:
    """Searches, or goes on with a search; returns the exit code.

    Raises:
        SearchError: for anything that the user can mend.
        DataError: for problems in the data.
    """
    backend = choose_backend(options.backend)
    _check(options)
    with console.status("Reading the images") as status:
        dataset = data.load(
            options.data,
            progress=lambda done, total: status.update(f"Reading image {done} of {total}"),
        )
    console.print(dataset.summary(), highlight=False)
    space = _space(options, dataset)
    options.output.mkdir(parents=True, exist_ok=True)
    with _lock(options.output):
        return _run_locked(options, dataset, space, backend, console)


def _check(options: Options) -> None:
    """Finds what can be found before anything is read or written."""
    plain = len(Space(terms=options.terms or Space().terms).baselines())
    if options.trials <= plain:
        raise SearchError(
            f"--trials: expected at least {plain + 1}, because the first {plain} are the plain "
            f"losses. Received: {options.trials}."
        )
    size = options.data.size
    if options.crop is not None and options.crop >= size:
        raise SearchError(f"--crop: expected less than --size, {size}. Received: {options.crop}.")
    if options.model == "unet":
        for name, side in (("--size", size), ("--crop", options.crop)):
            if side is not None and side % 2**options.depth:
                raise SearchError(
                    f"{name}: expected a number divisible by {2**options.depth}, since the U-Net "
                    f"halves the resolution {options.depth} times. Received: {side}."
                )
    else:
        module, _, function = options.model.partition(":")
        if not module or not function:
            raise SearchError(
                "--model: expected `unet` or `package.module:function`. Received: "
                f"{options.model!r}."
            )
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            raise SearchError(
                f"--model: there is no module {module!r} where Python looks, nor in the folder "
                "that the command is run in."
            )
    if options.tracking_uri is not None:
        checked_uri(options.tracking_uri)


def _space(options: Options, dataset: Dataset) -> Space:
    batch = min(options.batch_size, len(dataset.train))
    steps = options.epochs * max(1, len(dataset.train) // batch)
    terms = options.terms or Space().terms
    return Space(terms=terms, steps=steps, learning_rate=Range(3e-4, 1e-2, log=True))


def _run_locked(
    options: Options, dataset: Dataset, space: Space, backend: str, console: Console
) -> int:
    folder = options.output
    identity = {
        "data": dataset.fingerprint,
        "epochs": options.epochs,
        "batch size": options.batch_size,
        "model": options.model,
        "width": options.width,
        "depth": options.depth,
        "crop": options.crop,
        "augmentation": options.augment,
        "seed": options.seed,
        "backend": backend,
    }
    study = Study(folder, space, identity=identity, epochs=options.epochs, seed=options.seed)
    dataset.save(folder / "data.npz")
    devices = gpu_count()
    console.print(
        f"Keras on {backend}, {options.workers} worker{'s' if options.workers > 1 else ''}, "
        + (f"{devices} GPU{'s' if devices > 1 else ''}" if devices else "no GPU"),
        highlight=False,
    )
    tracker = Tracker(folder, uri=options.tracking_uri, experiment=f"kerasloss {folder.name}")
    for number in tracker.open_trials():
        tracker.end_trial(number, "KILLED", {}, {"state": "interrupted"})
    tracker.start_study(
        {
            "images": len(dataset.images),
            "foreground": f"{dataset.foreground:.4f}",
            "classes": dataset.classes,
            "size": options.data.size,
            **{name.replace(" ", "_"): value for name, value in identity.items()},
        },
        {"command": options.command},
    )
    if study.records or study.interrupted:
        console.print(
            f"Going on: {len(study.records)} trials are done"
            + (f", {len(study.interrupted)} interrupted and repeated" if study.interrupted else ""),
            highlight=False,
        )
    pool = LocalPool(
        _settings(options, space),
        workers=options.workers,
        backend=backend,
        log=folder / "workers.log",
    )
    shown = TerminalProgress(console, options.trials, len(study.records))
    driver = Driver(study, pool, tracker, folder, shown)
    status = "FAILED"
    try:
        with shown:
            driver.search(options.trials)
        _conclude(driver, study, dataset, options, tracker, console)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        lost = driver.abandon()
        console.print(
            f"Stopped. {len(study.records)} finished trials are kept"
            + (f"; {len(lost)} under way will be repeated" if lost else "")
            + ". The same command goes on.",
            highlight=False,
        )
    finally:
        pool.close()
        best = study.best
        metrics = {} if best is None else {"best_score": best.score}
        tracker.end_study(status, metrics, {})  # type: ignore[arg-type]
        left = tracker.close(timeout_s=60.0 if status == "FINISHED" else 5.0)
        if left:
            console.print(
                f"MLflow has not taken {left} events yet ({tracker.error or 'slow'}); they are "
                "kept, and the next run delivers them.",
                highlight=False,
            )
    return 0 if status == "FINISHED" else 130


def _settings(options: Options, space: Space) -> Settings:
    own = {"width": options.width, "depth": options.depth} if options.model == "unet" else {}
    return Settings(
        data=options.output / "data.npz",
        space=space,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        model=options.model,
        model_options={**own, **options.model_options},
        from_logits=options.from_logits,
        augment=options.augment,
        crop=options.crop,
    )


def _conclude(
    driver: Driver,
    study: Study,
    dataset: Dataset,
    options: Options,
    tracker: Tracker,
    console: Console,
) -> None:
    best = study.best
    if best is None:
        raise SearchError(
            "no trial ended with a score. The reasons are in "
            f"{options.output / 'workers.log'} and in the MLflow runs."
        )
    plain = [record for record in study.records if record.baseline and record.outcome == "complete"]
    searched = study.best_searched
    chosen = plain + ([] if searched is None else [searched])
    with console.status("Judging on the test images"):
        judged = driver.judge(chosen, _SAMPLES)
        driver.call("export", driver.weights_file(best.number), best.recipe, options.output)
        sentence = report.verdict(judged)
        folder = options.output
        report.write_results(folder / "results.json", judged, study.records, best, sentence)
        report.draw_curves(folder / "curves.png", study.records, best)
        _overlays(judged, dataset, folder, tracker)
    for name in ("best_loss.json", "best_model.keras", "results.json", "curves.png"):
        tracker.log_artifact(None, folder / name)
    console.print()
    console.print(report.closing_table(judged, best))
    console.print(sentence, highlight=False)
    console.print(
        f"\nIn {folder}: best_loss.json, best_model.keras, curves.png, overlays.png, results.json\n"
        f'Use the loss:  model.compile(loss=kerasloss.load("{folder / "best_loss.json"}"))\n'
        f"See every run: kerasloss-search ui --output {folder}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def _overlays(judged: list[Judged], dataset: Dataset, folder: Path, tracker: Tracker) -> None:
    """One picture of the best plain and the best other loss, and one for the run of each."""
    test = dataset.test[:_SAMPLES]
    images, truths = dataset.images[test], dataset.masks[test]
    names = [dataset.names[index] for index in test]
    ranked = sorted(judged, key=lambda one: -one.record.score)
    plain = next((entry for entry in ranked if entry.record.baseline is not None), None)
    ours = next((entry for entry in ranked if entry.record.baseline is None), None)
    pair = [entry for entry in (plain, ours) if entry is not None]
    predictions = {
        entry.record.baseline or f"searched: {entry.record.recipe.label}": entry.samples
        for entry in pair
    }
    report.draw_overlays(folder / "overlays.png", images, truths, predictions, names)
    tracker.log_artifact(None, folder / "overlays.png")
    for entry in judged:
        name = entry.record.baseline or entry.record.recipe.label
        path = folder / "trials" / f"overlay_{entry.record.number:04d}.png"
        report.draw_overlays(path, images, truths, {name: entry.samples}, names)
        tracker.log_artifact(entry.record.number, path)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keeps a second search out of the folder; the lock goes with the process, however it ends."""
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            raise SearchError(
                f"--output: another search is running in {folder}. Wait for it, or give another."
            ) from problem
        yield
