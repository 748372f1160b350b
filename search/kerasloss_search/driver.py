"""Conducts a search: hands trials to workers, records what they report, and judges the outcome."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from kerasloss_search import files
from kerasloss_search.assignment import Assignment
from kerasloss_search.executor import Event, Executor
from kerasloss_search.finals import FinalStage, Trained
from kerasloss_search.orders import SearchError, call, events
from kerasloss_search.recording import begin_run, catch_up, close_ended, close_run, settle
from kerasloss_search.records import Proposal, Record
from kerasloss_search.space import Recipe
from kerasloss_search.study import Study
from kerasloss_search.tracking import Tracker

__all__ = ["Driver", "SearchError", "call", "settle"]

# What the outcome alone does not say.
_NOTES = {"diverged": "the loss became NaN or infinite; a smaller learning rate may help"}

# So many failures and nothing else: the fault is in the set-up, not in a trial.
_FAILURES = 3


class Progress(Protocol):
    """What the driver tells whoever shows its progress."""

    def started(self, proposal: Proposal) -> None:
        """A trial was handed to a worker."""

    def ended(self, record: Record, best: Record | None) -> None:
        """A trial has ended."""

    def lost(self, number: int, reason: str) -> None:
        """A trial's worker is gone; the trial is queued again."""

    def finals(self, done: int, total: int) -> None:
        """So many of the trainings of the final stage are done."""


class Driver:
    """The one process that talks to the study and to the tracker.

    Args:
        study: says which trials run.
        executor: runs them.
        tracker: takes what is to be seen in MLflow.
        folder: the search's folder.
        progress: is told what happens.
    """

    def __init__(
        self,
        study: Study,
        executor: Executor,
        tracker: Tracker,
        folder: Path,
        progress: Progress,
    ) -> None:
        self._study = study
        self._executor = executor
        self._tracker = tracker
        self._folder = folder
        self._progress = progress
        self._waiting: list[Proposal] = []
        # Trial -> why it was told to stop, and what its epochs logged.
        self._reasons: dict[int, str] = {}
        self._logs: dict[int, dict[str, list[float]]] = {}
        self._assignment = Assignment(executor.workers)
        # What has ended in this session.
        self._told: list[Record] = []
        # When `Study.spend` was last told.
        self._clock = time.monotonic()

    def search(self, trials: int | None, time_s: float | None = None) -> None:
        """Runs trials until so many have ended, those of earlier sessions counted in.

        Args:
            trials: their number; None for as many as the time allows.
            time_s: after so long, with that of earlier sessions, no further trial is begun.
        """
        (self._folder / "trials").mkdir(exist_ok=True)
        self._clock = time.monotonic()
        catch_up(self._study, self._tracker)
        limit = math.inf if trials is None else trials
        while self._study.ended < limit:
            in_time = time_s is None or self._spent_s() < time_s
            if not in_time:
                self._withdraw()
                if not self._study.running:
                    break
            idle = self._executor.idle()
            several = self._executor.workers > 1
            if in_time:
                self._ask(self._executor.workers if several else len(idle), limit)
            self._hand_out(idle)
            if in_time:
                # One ahead, while the worker trains: the sampler reads all trials there are. Of
                # several workers each needs a choice, to find a trial whose step it has compiled.
                self._ask(self._executor.workers, limit)
            for event in events(self._executor):
                self._handle(event)
            self._give_up_early()

    def _ask(self, count: int, limit: float) -> None:
        """Asks for trials until so many are waiting, or as many as the search still needs."""
        while len(self._waiting) < count and self._study.ended + len(self._study.running) < limit:
            self._waiting.append(self._study.ask())

    def _withdraw(self) -> None:
        """Puts trials that wait for a worker back into the queue."""
        while self._waiting:
            self._study.withdraw(self._waiting.pop(0).number)

    def _spent_s(self) -> float:
        return self._study.spent_s + time.monotonic() - self._clock

    def finals(self, records: Sequence[Record], seeds: Sequence[int]) -> Trained:
        """Trains losses anew from other initial weights and judges them on the test images.

        What an earlier session has done is read from its files.

        Raises:
            SearchError: if none of them can be trained.
        """
        stage = FinalStage(
            records,
            seeds,
            self._study.space,
            self._executor,
            self._tracker,
            self._folder,
            self._progress,
            self._assignment,
        )
        return stage.run()

    def call(self, name: str, *arguments: Any) -> Any:
        """Has an idle worker do something else, and waits for it."""
        return call(self._executor, name, *arguments)

    def abandon(self) -> list[int]:
        """Closes the runs of the trials that are under way; the next session repeats them.

        Those of trials that have just ended are closed as well: we may have been stopped between
        telling the study and telling the tracker.
        """
        close_ended(self._study, self._tracker)
        numbers = sorted(self._study.running)
        begun = set(numbers) - {proposal.number for proposal in self._waiting}
        for number in begun:
            self._tracker.end_trial(number, "KILLED", {}, {"state": "interrupted"})
        return numbers

    def _give_up_early(self) -> None:
        failed = [record.note for record in self._told if record.outcome == "failed"]
        if len(failed) >= _FAILURES and len(failed) == len(self._told):
            raise SearchError(
                f"the first {len(failed)} trials failed: {failed[-1]}. Nothing else can be "
                f"expected of the others; see {self._folder / 'workers.log'}."
            )

    def _hand_out(self, idle: Sequence[int]) -> None:
        structure = self._study.space.structure
        waiting = {one.number: structure(one.recipe) for one in self._waiting}
        for worker, number in self._assignment.deal(idle, waiting):
            proposal = next(one for one in self._waiting if one.number == number)
            self._waiting.remove(proposal)
            self._executor.submit(worker, number, "train", (proposal.recipe,))
            begin_run(self._tracker, proposal)
            self._progress.started(proposal)

    def _handle(self, event: Event) -> None:
        if event.kind == "lost":
            self._assignment.forget(event.worker)
            if isinstance(event.task, int):
                self._lose(event.task, event.content)
        elif event.kind == "epoch":
            epoch = event.content
            reason = self._study.report(event.task, epoch.index, epoch.score, epoch.foreground)
            self._executor.answer(event.worker, reason is None)
            if reason is not None:
                self._reasons[event.task] = reason
            logs = _in_use(epoch.logs, self._study.running[event.task].recipe)
            metrics = {"score": epoch.score, "foreground": epoch.foreground, **logs}
            self._tracker.log_epoch(event.task, epoch.index, metrics)
            kept = self._logs.setdefault(event.task, {})
            for name, value in logs.items():
                kept.setdefault(name, []).append(value)
        elif event.kind == "done":
            result = event.content
            outcome = result.outcome
            if outcome == "stopped":
                outcome = self._reasons.pop(event.task)
            note = _NOTES.get(outcome, "")
            self._end(event.task, outcome, result.values, result.seconds, note)
        elif event.kind == "failed":
            # The worker builds everything anew.
            self._assignment.forget(event.worker)
            self._end(event.task, "failed", {}, math.nan, event.content)

    def _lose(self, number: int, reason: str) -> None:
        """A trial's worker is gone."""
        logs = self._logs.pop(number, {})
        record = self._study.interrupt(number, reason)
        if record is None:
            self._tracker.end_trial(number, "FAILED", {}, {"state": "worker lost", "note": reason})
            self._progress.lost(number, reason)
        else:
            files.write_json(files.logs_file(self._folder, number), logs)
            self._ended(record)

    def _end(
        self,
        number: int,
        outcome: str,
        values: Mapping[str, float],
        seconds: float,
        note: str = "",
    ) -> None:
        files.write_json(files.logs_file(self._folder, number), self._logs.pop(number, {}))
        record = self._study.tell(number, outcome, values, seconds, note)
        self._ended(record)

    def _ended(self, record: Record) -> None:
        self._told.append(record)
        now = time.monotonic()
        self._study.spend(now - self._clock)
        self._clock = now
        close_run(self._tracker, record)
        self._progress.ended(record, self._study.best)


def _in_use(logs: Mapping[str, float], recipe: Recipe) -> dict[str, float]:
    """Leaves out the terms that only ride along in the compiled step."""
    unused = {term for term, weight in recipe.weights.items() if weight == 0}
    if recipe.auxiliary_scale == 0:
        # Its name has a prefix where a term is called the same.
        prefix = "auxiliary/" if recipe.auxiliary in recipe.weights else ""
        unused.add(f"{prefix}{recipe.auxiliary}")
    return {
        name: value for name, value in logs.items() if name.removeprefix("weight/") not in unused
    }
