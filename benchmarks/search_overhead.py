"""What study and tracking cost a trial, in a young and in an old study."""

from __future__ import annotations

import argparse
import random
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from kerasloss_search.driver import Driver
from kerasloss_search.executor import Event
from kerasloss_search.jobs import Epoch, Result
from kerasloss_search.space import Space
from kerasloss_search.study import Study
from kerasloss_search.tracking import Tracker


def run(options: argparse.Namespace) -> None:
    """The driver with a worker that sleeps as long as training would take: the rest is its own."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for recorded in (0, options.recorded):
            if recorded:
                begun = time.perf_counter()
                _fill(folder, recorded)
                print(f"  ({recorded} trials written in {time.perf_counter() - begun:.0f} s)")
            begun = time.perf_counter()
            study = _study(folder, options.epochs)
            opened = time.perf_counter() - begun
            tracker = Tracker(folder, uri=None, experiment="benchmark")
            tracker.start_study({}, {})
            pool = _Sleeper(options.epochs)
            driver = Driver(study, pool, tracker, folder, _Nobody())
            # TPE draws at random for its first ten trials, which takes less.
            driver.search(study.ended + 12)
            pool.epoch_s = options.trial_s / options.epochs
            # The first one has none before it that trains while it is asked for.
            driver.search(study.ended + 1 + options.repeats)
            extra = np.diff(pool.handed_out)[-options.repeats :] - options.trial_s
            tracker.close(timeout_s=60.0)
            seconds = float(np.median(extra))
            print(
                f"  after {study.ended - options.repeats - 13} trials: {1000 * seconds:.0f} ms a "
                f"trial of {options.epochs} epochs, {seconds / options.trial_s:.2%} of "
                f"{options.trial_s:g} s; opened in {opened:.1f} s"
            )


def _study(folder: Path, epochs: int) -> Study:
    return Study(folder, Space(), identity={}, epochs=epochs, seed=0, pruning=False)


def _fill(folder: Path, count: int) -> None:
    """Copies the rows of one finished trial, with other numbers: asking for each takes too long."""
    study = _study(folder, 20)
    template = study.records[-1].number
    distributions = study._distributions
    rng = random.Random(0)

    def drawn(name: str) -> float:
        limits = distributions[name]
        if isinstance(limits, optuna.distributions.CategoricalDistribution):
            return float(rng.randrange(len(limits.choices)))
        return rng.uniform(limits.low, limits.high)

    with sqlite3.connect(folder / "study.db") as connection:
        connection.execute("PRAGMA synchronous=OFF")

        def rows(table: str, trial: int) -> tuple[list[str], list[list[Any]]]:
            cursor = connection.execute(f"SELECT * FROM {table} WHERE trial_id = ?", (trial,))
            names = [column[0] for column in cursor.description]
            return names, [list(row) for row in cursor]

        (source,) = connection.execute(
            "SELECT trial_id FROM trials WHERE number = ?", (template,)
        ).fetchone()
        first_id = connection.execute("SELECT MAX(trial_id) FROM trials").fetchone()[0] + 1
        first = connection.execute("SELECT MAX(number) FROM trials").fetchone()[0] + 1
        names, (trial,) = rows("trials", source)
        found = []
        for index in range(count):
            trial[names.index("trial_id")] = first_id + index
            trial[names.index("number")] = first + index
            found.append(list(trial))
        _insert(connection, "trials", names, found)
        for table, own in (
            ("trial_params", "param_value"),
            ("trial_values", "value"),
            ("trial_intermediate_values", None),
            ("trial_user_attributes", None),
        ):
            names, kept = rows(table, source)
            found = []
            for index in range(count):
                for row in kept:
                    copy = list(row)
                    copy[names.index("trial_id")] = first_id + index
                    if own == "param_value":
                        copy[names.index(own)] = drawn(row[names.index("param_name")])
                    elif own is not None:
                        copy[names.index(own)] = rng.random()
                    found.append(copy[1:])
            # The first column is the key of the table, which counts by itself.
            _insert(connection, table, names[1:], found)


def _insert(
    connection: sqlite3.Connection, table: str, names: list[str], rows: list[list[Any]]
) -> None:
    places = ", ".join("?" * len(names))
    connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", rows)


class _Sleeper:
    """One worker that trains nothing and takes its time."""

    workers = 1

    def __init__(self, epochs: int) -> None:
        self.epoch_s = 0.0
        self.handed_out: list[float] = []
        self._epochs = epochs
        self._task: Any = None
        self._left: list[tuple[str, Any]] = []
        self._ready_at = 0.0
        self._rng = random.Random(1)

    def idle(self) -> list[int]:
        return [] if self._left else [0]

    def submit(self, worker: int, task: Any, call: str, arguments: tuple[Any, ...]) -> None:
        score = self._rng.random()
        logs = {"loss": 0.5, "dice": 0.4, "weight/dice": 1.0}
        self._task = task
        self._left = [("epoch", Epoch(i, score, 0.1, logs)) for i in range(self._epochs)]
        self._left.append(("done", Result("complete", {"dice": score}, 0, 30.0)))
        self.handed_out.append(time.perf_counter())
        self._ready_at = time.perf_counter() + self.epoch_s

    def answer(self, worker: int, go_on: bool) -> None:
        # Like a real one it waits for the answer before it goes on. All trials run to their end.
        self._ready_at = time.perf_counter() + self.epoch_s * (len(self._left) > 1)

    def poll(self, timeout_s: float) -> Any:
        time.sleep(min(timeout_s, max(0.0, self._ready_at - time.perf_counter())))
        if time.perf_counter() >= self._ready_at:
            kind, content = self._left.pop(0)
            yield Event(0, kind, self._task, content)

    def close(self) -> None: ...


class _Nobody:
    def started(self, proposal: object) -> None: ...

    def ended(self, record: object, best: object) -> None: ...

    def lost(self, number: int, reason: str) -> None: ...

    def finals(self, done: int, total: int) -> None: ...
