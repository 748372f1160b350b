"""Trains a loss of a finished search once more, to see that its numbers come again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console

from kerasloss_search import files
from kerasloss_search.dataset import Dataset
from kerasloss_search.driver import SearchError, call
from kerasloss_search.executor import LocalPool
from kerasloss_search.jobs import Final
from kerasloss_search.provenance import settings_from_json
from kerasloss_search.settings.assembly import look_for_own
from kerasloss_search.space import Recipe

__all__ = ["repeat"]


def repeat(folder: Path, trial: int | None, seed: int | None, console: Console) -> int:
    """Repeats a training of the final stage and compares it with the record.

    Args:
        folder: the search's folder; nothing in it is changed but `workers.log`.
        trial: number of a trial of the final stage; None for the best loss.
        seed: one of the fresh seeds; None for the first one.
        console: takes the result.

    Returns:
        The exit code: 0 where all numbers are the same, 1 where they are not.

    Raises:
        SearchError: if the folder holds no finished search, or not this training.
    """
    found = files.read_json(folder / "results.json")
    if not found or not found.get("finals"):
        raise SearchError(f"FOLDER: expected the folder of a finished search. Received: {folder}.")
    known = found["provenance"]
    finals = {final["trial"]: final for final in found["finals"]}
    trial = found["best"]["trial"] if trial is None else trial
    if trial not in finals:
        raise SearchError(
            f"--trial: expected one of {', '.join(map(str, sorted(finals)))}, which were trained "
            f"anew. Received: {trial}."
        )
    seed = finals[trial]["seeds"][0] if seed is None else seed
    if seed not in finals[trial]["seeds"]:
        seeds = ", ".join(map(str, finals[trial]["seeds"]))
        raise SearchError(f"--seed: expected one of {seeds}. Received: {seed}.")
    before = files.read_final(files.final_file(folder, trial, seed))
    if before is None or not (folder / "data.npz").exists():
        raise SearchError(f"FOLDER: {folder} lacks its files of trial {trial}, seed {seed}.")
    fingerprint = Dataset.load_npz(folder / "data.npz").fingerprint
    if fingerprint != known["data_fingerprint"]:
        raise SearchError(f"{folder / 'data.npz'} is not the data of this search any more.")
    recipe = Recipe(**next(t["recipe"] for t in found["trials"] if t["trial"] == trial))
    settings = settings_from_json(found["settings"], folder / "data.npz")
    # The user's own modules: beside the study file, where the folder lies by default, or here.
    look_for_own(settings.space, settings.model, str(folder.parent), "")
    label = finals[trial]["label"]
    with tempfile.TemporaryDirectory() as scratch, console.status(f"Training {label}"):
        place = Path(scratch) / "finals"
        place.mkdir()
        pool = LocalPool(settings, workers=1, backend=known["backend"], log=folder / "workers.log")
        try:
            again = call(pool, "final", trial, recipe, seed, place / f"{trial:04d}-{seed}")
        finally:
            pool.close()
    return _compare(before, again, label, console)


def _compare(before: Final, again: Final, label: str, console: Console) -> int:
    console.print(f"{label}, trial {before.trial}, seed {before.seed}", highlight=False)
    same = before.curve == again.curve and before.test == again.test
    rows = [("validation", before.validation, again.validation)]
    rows += [
        (f"test {name}", float(np.mean(before.test[name])), float(np.mean(again.test[name])))
        for name in before.test
    ]
    for name, then, now in rows:
        console.print(f"  {name}: {then:.6f} then, {now:.6f} now", highlight=False)
    console.print(
        "The same numbers, to the last digit."
        if same
        else "The numbers differ: another machine, another version of a package, or a GPU, whose "
        "sums depend on the order of its threads. results.json has the versions of then."
    )
    return 0 if same else 1
