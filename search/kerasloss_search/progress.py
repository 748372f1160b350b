"""Progress on the terminal while a search runs."""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import MofNCompleteColumn as Counted

from kerasloss_search.study import Proposal, Record

__all__ = ["TerminalProgress"]


class TerminalProgress:
    """A bar with the best so far and the time left, a line a trial."""

    def __init__(self, console: Console, trials: int, done: int) -> None:
        self._console = console
        self._left = trials - done
        self._started = time.monotonic()
        self._ended = 0
        self._progress = Progress(
            TextColumn("trials"),
            BarColumn(),
            Counted(),
            TextColumn("{task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._bar = self._progress.add_task(
            "", total=trials, completed=done, best="", left="starting the workers"
        )

    def __enter__(self) -> TerminalProgress:
        self._progress.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._progress.stop()

    def started(self, proposal: Proposal) -> None:
        if self._ended == 0:
            self._progress.update(self._bar, left="first trial: compiling")

    def ended(self, record: Record, best: Record | None) -> None:
        self._ended += 1
        pace = (time.monotonic() - self._started) / self._ended
        left = pace * max(0, self._left - self._ended)
        self._progress.update(
            self._bar,
            advance=1,
            best="" if best is None else f"best {best.score:.4f}",
            left=f"about {_duration(left)} left",
        )
        score = f"{record.score:.4f}" if np.isfinite(record.score) else "-"
        kind = "plain" if record.baseline and record.outcome == "complete" else record.outcome
        self._progress.console.print(
            f"{record.number:4d}  {score}  {kind:<9}  {record.baseline or record.recipe.label}"
            + (f"\n      {record.note}" if record.note else ""),
            highlight=False,
            markup=False,
            soft_wrap=True,
            style="bold" if best is not None and best.number == record.number else None,
        )

    def lost(self, number: int, reason: str) -> None:
        self._progress.console.print(
            f"{number:4d}  worker lost ({reason}); the trial is repeated", highlight=False
        )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
