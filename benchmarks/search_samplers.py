"""The best score after equal wall time: the search's sampler and pruner against random search."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from kerasloss_search.data import DataOptions, load
from kerasloss_search.driver import Driver
from kerasloss_search.executor import LocalPool
from kerasloss_search.jobs import Settings
from kerasloss_search.space import Space
from kerasloss_search.study import Study
from kerasloss_search.tracking import NullTracker


def run(options: argparse.Namespace) -> None:
    """Prints, for every set, the best validation score of each repeat and the paired difference."""
    known = options.json is not None and options.json.exists()
    rows: list[dict[str, Any]] = json.loads(options.json.read_text()) if known else []
    done = {(row["set"], row["seed"], row["random"]) for row in rows}
    for name, folder in (pair.split("=", 1) for pair in options.sets):
        for seed in range(options.repeats):
            for random in (False, True):
                if (name, seed, random) not in done:
                    score, trials = _best(Path(folder), seed, random, options)
                    row = {"set": name, "seed": seed, "random": random}
                    rows.append({**row, "score": score, "trials": trials})
                if options.json is not None:
                    options.json.write_text(json.dumps(rows))
        ours, theirs = (
            [row for row in rows if row["set"] == name and row["random"] is random]
            for random in (False, True)
        )
        change = [a["score"] - b["score"] for a, b in zip(ours, theirs, strict=True)]
        print(f"{name}: {options.time_s:g} s each, {len(change)} repeats")
        for title, some in (("search", ours), ("random", theirs)):
            scores = ", ".join(f"{row['score']:.4f}" for row in some)
            trials = np.mean([row["trials"] for row in some])
            print(f"  {title}: {scores}; {trials:.0f} trials on average")
        error = np.std(change, ddof=1) / len(change) ** 0.5 if len(change) > 1 else np.nan
        print(f"  difference {np.mean(change):+.4f}, standard error {error:.4f}")


def _best(folder: Path, seed: int, random: bool, options: argparse.Namespace) -> tuple[float, int]:
    dataset = load(DataOptions(folder / "images", folder / "masks", size=options.size, seed=seed))
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        dataset.save(scratch / "data.npz")
        steps = options.epochs * max(1, len(dataset.train) // 8)
        settings = Settings(
            scratch / "data.npz",
            Space(steps=steps),
            epochs=options.epochs,
            seed=seed,
            model_options={"width": 8, "depth": 3},
        )
        study = Study(
            scratch,
            settings.space,
            identity={},
            epochs=options.epochs,
            seed=seed,
            pruning=not random,
        )
        if random:
            study._study.sampler = optuna.samplers.RandomSampler(seed=seed)
        pool = LocalPool(settings, workers=1, backend=options.backend, log=scratch / "log")
        try:
            # The time is that of the trials; the first one, which compiles, is in it.
            Driver(study, pool, NullTracker(), scratch, _Nobody()).search(None, options.time_s)
        finally:
            pool.close()
        assert study.best is not None
        return study.best.score, study.ended


class _Nobody:
    def started(self, proposal: object) -> None: ...

    def ended(self, record: object, best: object) -> None: ...

    def lost(self, number: int, reason: str) -> None: ...

    def finals(self, done: int, total: int) -> None: ...
