"""Memory of a worker and of the driver over many trials; a part of `benchmarks/search.py`."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from kerasloss_search.driver import Driver
from kerasloss_search.executor import LocalPool
from kerasloss_search.records import Record
from kerasloss_search.study import Study
from kerasloss_search.tracking import Tracker
from search_throughput import small_search


def run(options: argparse.Namespace) -> None:
    """A real search of many short trials, whose losses share one compiled step."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        settings = small_search(folder, options.epochs)
        study = Study(folder, settings.space, identity={}, epochs=options.epochs, seed=0)
        pool = LocalPool(settings, workers=1, backend=options.backend, log=folder / "log")
        tracker = Tracker(folder, uri=None, experiment="benchmark")
        tracker.start_study({}, {})
        progress = _Watch(lambda: int(pool._processes[0].pid or 0))
        begun = time.perf_counter()
        try:
            Driver(study, pool, tracker, folder, progress).search(options.trials)
        finally:
            pool.close()
        tracker.close(timeout_s=60.0)
    print(f"{options.backend}: {options.trials} trials in {time.perf_counter() - begun:.0f} s")
    print("  trials  worker MiB  driver MiB")
    for count in sorted({1, *range(25, options.trials + 1, 25), options.trials}):
        worker, driver = progress.sizes[count - 1]
        print(f"  {count:6d}  {worker:10.0f}  {driver:10.0f}")
    half = np.array(progress.sizes[len(progress.sizes) // 2 :])
    grown = np.polyfit(np.arange(len(half)), half, 1)[0]
    print(f"  second half: worker {grown[0]:+.2f}, driver {grown[1]:+.2f} MiB a trial")


class _Watch:
    """Notes after every trial what both processes hold."""

    def __init__(self, worker: Callable[[], int]) -> None:
        self._worker = worker
        self.sizes: list[tuple[float, float]] = []

    def started(self, proposal: object) -> None: ...

    def ended(self, record: Record, best: Record | None) -> None:
        self.sizes.append((_resident(self._worker()), _resident(os.getpid())))

    def lost(self, number: int, reason: str) -> None: ...

    def finals(self, done: int, total: int) -> None: ...


def _resident(process: int) -> float:
    """Resident memory in MiB; Linux alone tells it without a package."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
