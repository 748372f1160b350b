"""Progress on the terminal while a search runs."""

from __future__ import annotations

import math
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import MofNCompleteColumn as Counted

from kerasloss_search.records import Proposal, Record

__all__ = ["TerminalProgress"]


class TerminalProgress:
    """A bar with the best so far and the time left, a line a trial."""

    def __init__(
        self, console: Console, trials: int | None, done: int, time_s: float | None = None
    ) -> None:
        self._left = math.inf if trials is None else trials - done
        self._time_s = math.inf if time_s is None else time_s
        self._started = time.monotonic()
        self._ended = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            Counted(),
            TextColumn("{task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._final_bar: TaskID | None = None
        self._bar = self._progress.add_task(
            "trials", total=trials, completed=done, best="", left="starting the workers"
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
        spent = time.monotonic() - self._started
        by_trials = spent / self._ended * max(0, self._left - self._ended)
        left = min(by_trials, max(0.0, self._time_s - spent))
        self._progress.update(
            self._bar,
            advance=1,
            best="" if best is None else f"best {best.score:.4f}",
            left=f"about {_duration(left)} left",
        )
        score = f"{record.score:.4f}" if math.isfinite(record.score) else "-"
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

    def finals(self, done: int, total: int) -> None:
        if self._final_bar is None:
            # The search may have ended by time, short of its number of trials.
            self._progress.update(self._bar, total=self._progress.tasks[0].completed, left="")
            self._final_bar = self._progress.add_task(
                "final trainings", total=total, completed=done, best="", left=""
            )
            self._final_started, self._final_done = time.monotonic(), done
            return
        fresh = max(1, done - self._final_done)
        pace = (time.monotonic() - self._final_started) / fresh
        left = f"about {_duration(pace * (total - done))} left" if done < total else ""
        self._progress.update(self._final_bar, completed=done, left=left)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
