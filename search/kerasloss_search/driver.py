"""Conducts a search: hands trials to workers, records what they report, and judges the outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kerasloss_search.executor import Event, Executor
from kerasloss_search.space import AUXILIARY, Recipe
from kerasloss_search.study import Proposal, Record, Study
from kerasloss_search.tracking import Status, Tracker

__all__ = ["Driver", "Judged", "SearchError"]

# MLflow's word for each way a trial can end.
_STATUS: dict[str, Status] = {
    "complete": "FINISHED",
    "pruned": "KILLED",
    "collapsed": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
}


# So many failures and nothing else: the fault is in the set-up, not in a trial.
_FAILURES = 3


class SearchError(Exception):
    """Something that ends the search and that the user can mend; one line."""


class Progress(Protocol):
    """What the driver tells whoever shows its progress."""

    def started(self, proposal: Proposal) -> None:
        """A trial was handed to a worker."""

    def ended(self, record: Record, best: Record | None) -> None:
        """A trial has ended."""

    def lost(self, number: int, reason: str) -> None:
        """A trial's worker is gone; the trial is queued again."""


@dataclass(frozen=True)
class Judged:
    """A trial and its scores on the test images, which no decision of the search has seen."""

    record: Record
    test: npt.NDArray[np.float64]
    samples: npt.NDArray[np.uint8]


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
        # Trial -> why it was told to stop.
        self._reasons: dict[int, str] = {}

    def weights_file(self, number: int) -> Path:
        """Where a trial's best weights are."""
        return self._folder / "trials" / f"{number:04d}.npz"

    def search(self, trials: int) -> None:
        """Runs trials until so many have ended, those of earlier sessions counted in."""
        (self._folder / "trials").mkdir(exist_ok=True)
        while len(self._study.records) < trials:
            open_places = trials - len(self._study.records) - len(self._study.running)
            idle = self._executor.idle()
            for _ in range(min(len(idle) - len(self._waiting), open_places)):
                self._waiting.append(self._study.ask())
            for worker in idle:
                self._hand_out(worker)
            for event in self._executor.poll(0.5):
                self._handle(event)
            failed = [r.note for r in self._study.records if r.outcome == "failed"]
            if len(failed) >= _FAILURES and len(failed) == len(self._study.records):
                raise SearchError(
                    f"the first {len(failed)} trials failed: {failed[-1]}. Nothing else can be "
                    f"expected of the others; see {self._folder / 'workers.log'}."
                )

    def call(self, call: str, *arguments: Any) -> Any:
        """Has an idle worker do something else, and waits for it."""
        submitted = False
        while True:
            if not submitted and (idle := self._executor.idle()):
                self._executor.submit(idle[0], call, call, arguments)
                submitted = True
            for event in self._executor.poll(0.5):
                if event.kind == "refused":
                    raise SearchError(event.content)
                if event.task != call:
                    continue
                if event.kind == "done":
                    return event.content
                raise SearchError(f"{call}: {event.content}")

    def judge(self, records: list[Record], samples: int) -> list[Judged]:
        """Scores trials on the test images."""
        judged = []
        for record in records:
            test, shown = self.call("judge", self.weights_file(record.number), samples)
            judged.append(Judged(record, test, shown))
        return judged

    def abandon(self) -> list[int]:
        """Closes the runs of the trials that are under way; the next session repeats them."""
        numbers = sorted(self._study.running)
        for number in numbers:
            self._tracker.end_trial(number, "KILLED", {}, {"state": "interrupted"})
        return numbers

    def _hand_out(self, worker: int) -> None:
        if not self._waiting:
            return
        proposal = self._waiting.pop(0)
        number = proposal.number
        self._executor.submit(worker, number, "train", (proposal.recipe, self.weights_file(number)))
        tags = {
            "loss": proposal.baseline or "+".join(proposal.recipe.terms),
            "loss_family": proposal.recipe.family,
            "baseline": proposal.baseline or "",
        }
        if proposal.retry_of is not None:
            tags["retry_of"] = str(proposal.retry_of)
        params = {**proposal.params, "loss": proposal.recipe.label}
        self._tracker.start_trial(number, params, tags)
        self._progress.started(proposal)

    def _handle(self, event: Event) -> None:
        if event.kind == "refused":
            raise SearchError(event.content)
        if event.kind == "lost":
            if isinstance(event.task, int):
                self._tracker.end_trial(event.task, "FAILED", {}, {"state": "worker lost"})
                record = self._study.interrupt(event.task, event.content)
                if record is None:
                    self._progress.lost(event.task, event.content)
                else:
                    self._progress.ended(record, self._study.best)
        elif event.kind == "epoch":
            epoch = event.content
            reason = self._study.report(event.task, epoch.index, epoch.score, epoch.foreground)
            self._executor.answer(event.worker, reason is None)
            if reason is not None:
                self._reasons[event.task] = reason
            logs = _in_use(epoch.logs, self._study.running[event.task].recipe)
            metrics = {"score": epoch.score, "foreground": epoch.foreground, **logs}
            self._tracker.log_epoch(event.task, epoch.index, metrics)
        elif event.kind == "done":
            result = event.content
            outcome = result.outcome
            if outcome == "stopped":
                outcome = self._reasons.pop(event.task)
            self._end(event.task, outcome, result.score, result.seconds)
        elif event.kind == "failed":
            self._end(event.task, "failed", math.nan, math.nan, event.content)

    def _end(self, number: int, outcome: str, score: float, seconds: float, note: str = "") -> None:
        previous = self._study.best_searched
        record = self._study.tell(number, outcome, score, seconds, note)
        best = self._study.best
        tags = {"state": outcome, **({"note": note} if note else {})}
        self._tracker.end_trial(
            number, _STATUS[outcome], {"best_score": score, "duration_s": seconds}, tags
        )
        # In the end the plain losses are compared with the best other; no more weights are needed.
        searched = self._study.best_searched
        if searched is not None and searched.number == number and previous is not None:
            self.weights_file(previous.number).unlink(missing_ok=True)
        elif record.baseline is None and (searched is None or searched.number != number):
            self.weights_file(number).unlink(missing_ok=True)
        self._progress.ended(record, best)


def _in_use(logs: Mapping[str, float], recipe: Recipe) -> dict[str, float]:
    """Leaves out the terms that only ride along in the compiled step."""
    unused = {term for term, weight in recipe.weights.items() if weight == 0}
    if recipe.auxiliary_scale == 0:
        unused.add(f"auxiliary/{AUXILIARY}")
    return {
        name: value for name, value in logs.items() if name.removeprefix("weight/") not in unused
    }
