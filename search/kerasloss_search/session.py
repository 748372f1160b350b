"""One run of the command: data, workers, search, and the results in the output folder."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from kerasloss_search import checks, data, files
from kerasloss_search.backend import choose_backend
from kerasloss_search.conclusion import conclude, tell, write_results_so_far
from kerasloss_search.data import Dataset
from kerasloss_search.driver import Driver, settle
from kerasloss_search.executor import LocalPool, gpu_count
from kerasloss_search.jobs import Settings
from kerasloss_search.lock import locked
from kerasloss_search.progress import TerminalProgress
from kerasloss_search.settings.options import Options
from kerasloss_search.space import Space
from kerasloss_search.stopping import sigterm_is_ctrl_c
from kerasloss_search.study import Study
from kerasloss_search.tracking import Status, Tracker
from kerasloss_search.trouble import one_line

__all__ = ["Options", "choose_backend", "run"]


def run(options: Options, console: Console) -> int:
    """Searches, or goes on with a search; returns the exit code.

    Raises:
        SearchError: for anything that the user can mend.
        DataError: for problems in the data.
    """
    backend = choose_backend(options.backend, options.output)
    checks.check(options, backend)
    with console.status("Reading the images") as status:
        dataset = data.load(
            options.data,
            progress=lambda done, total: status.update(f"Reading image {done} of {total}"),
        )
    checks.check_data(options, dataset)
    console.print(dataset.summary(), highlight=False, markup=False)
    space = _space(options, dataset)
    options.output.mkdir(parents=True, exist_ok=True)
    with locked(options.output), sigterm_is_ctrl_c():
        return _run_locked(options, dataset, space, backend, console)


def _space(options: Options, dataset: Dataset) -> Space:
    batch = min(options.batch_size, len(dataset.train))
    steps = options.epochs * max(1, len(dataset.train) // batch)
    return replace(options.space, steps=steps)


def _run_locked(
    options: Options, dataset: Dataset, space: Space, backend: str, console: Console
) -> int:
    folder = options.output
    files.sweep(folder)
    identity = {
        "data": dataset.fingerprint,
        "epochs": options.epochs,
        "batch size": options.batch_size,
        "model": options.model,
        "model options": dict(options.model_options),
        "crop": options.crop,
        "augmentation": options.augment,
        "folds": options.folds,
        "seed": options.seed,
        "backend": backend,
        "classes": dataset.classes,
    }
    with console.status("Opening the study"):
        study = Study(
            folder,
            space,
            identity=identity,
            epochs=options.epochs,
            seed=options.seed,
            scores=options.scores,
            pruning=options.pruning,
        )
    if not files.holds(folder / "data.npz", dataset):
        dataset.save(folder / "data.npz")
    tracker = Tracker(folder, uri=options.tracking_uri, experiment=f"kerasloss {folder.name}")
    status: Status = "FAILED"
    try:
        facts = {
            "images": len(dataset.images),
            "foreground": f"{dataset.foreground:.4f}",
            "size": options.data.size,
            **{name.replace(" ", "_"): value for name, value in identity.items()},
        }
        settle(study, tracker)
        tracker.start_study(facts, {"command": options.command})
        status = _conduct(options, dataset, study, space, backend, tracker, console)
    finally:
        _part(tracker, status, study, folder, console)
    return 0 if status == "FINISHED" else 130


def _conduct(
    options: Options,
    dataset: Dataset,
    study: Study,
    space: Space,
    backend: str,
    tracker: Tracker,
    console: Console,
) -> Status:
    folder = options.output
    devices = gpu_count()
    workers = options.workers or max(1, devices * options.trials_per_gpu)
    console.print(
        f"Keras on {backend}, {workers} worker{'s' if workers > 1 else ''}, "
        + (f"{devices} GPU{'s' if devices > 1 else ''}" if devices else "no GPU"),
        highlight=False,
    )
    if study.ended or study.interrupted:
        console.print(
            f"Going on: {study.ended} trials are done"
            + (f", {len(study.interrupted)} interrupted and repeated" if study.interrupted else ""),
            highlight=False,
        )
    settings = _settings(options, space)
    pool = LocalPool(settings, workers=workers, backend=backend, log=folder / "workers.log")
    shown = TerminalProgress(console, options.trials, study.ended, _left_s(options, study))
    driver = Driver(study, pool, tracker, folder, shown)
    concluded = False
    try:
        with shown:
            driver.search(options.trials, options.time_s)
            conclusion = conclude(driver, study, dataset, settings, options, backend)
        concluded = True
        tell(conclusion, dataset, study, folder, tracker, console)
        return "FINISHED"
    except KeyboardInterrupt:
        lost = driver.abandon()
        console.print(
            f"Stopped. {_counted(study.ended)} kept"
            + (f"; {len(lost)} unfinished will be repeated" if lost else "")
            + ". The same command goes on.",
            highlight=False,
        )
        return "KILLED"
    except BaseException:
        driver.abandon()
        raise
    finally:
        pool.close()
        if study.ended and not concluded:
            _keep_results(study, folder, console)


def _keep_results(study: Study, folder: Path, console: Console) -> None:
    """Writes what a search that is stopped knows so far, where it has not concluded before."""
    try:
        write_results_so_far(study, folder)
    except OSError:
        pass  # What stopped the search, such as a full disk, is told already.
    except Exception as problem:
        # Nothing may hide why the search was stopped, nor keep MLflow from being told.
        console.print(
            f"results.json could not be written: {one_line(problem)}", highlight=False, markup=False
        )


def _part(tracker: Tracker, status: Status, study: Study, folder: Path, console: Console) -> None:
    """Closes the record, and says what MLflow has not taken."""
    best = study.best
    tracker.end_study(status, {} if best is None else {"best_score": best.score}, {})
    left = tracker.close(timeout_s=60.0 if status == "FINISHED" else 5.0)
    if left:
        console.print(
            f"MLflow has not taken {left} events yet ({tracker.error or 'slow'}); they are "
            f"kept. Deliver them with `kerasloss-search sync --output {shlex.quote(str(folder))}`, "
            "or go on.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if tracker.lost:
        console.print(
            f"MLflow will not show everything: {tracker.lost}", highlight=False, markup=False
        )


def _left_s(options: Options, study: Study) -> float | None:
    return None if options.time_s is None else options.time_s - study.spent_s


def _counted(trials: int) -> str:
    return f"{trials} finished trial is" if trials == 1 else f"{trials} finished trials are"


def _settings(options: Options, space: Space) -> Settings:
    return Settings(
        data=options.output / "data.npz",
        space=space,
        scores=options.scores,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        folds=options.folds,
        model=options.model,
        model_options=dict(options.model_options),
        from_logits=options.from_logits,
        augment=options.augment,
        crop=options.crop,
    )
