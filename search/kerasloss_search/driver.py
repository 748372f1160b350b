"""Conducts a search: hands trials to workers, records what they report, and judges the outcome."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from kerasloss_search import files
from kerasloss_search.executor import Event, Executor
from kerasloss_search.jobs import Final
from kerasloss_search.records import Proposal, Record
from kerasloss_search.space import Recipe
from kerasloss_search.study import Study
from kerasloss_search.tracking import Status, Tracker

__all__ = ["Driver", "SearchError", "call", "settle"]

# MLflow's word for each way a trial can end.
_STATUS: dict[str, Status] = {
    "complete": "FINISHED",
    "pruned": "KILLED",
    "collapsed": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
}

# What the outcome alone does not say.
_NOTES = {"diverged": "the loss became NaN or infinite; a smaller learning rate may help"}

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

    def finals(self, done: int, total: int) -> None:
        """So many of the trainings of the final stage are done."""


def settle(study: Study, tracker: Tracker) -> None:
    """Closes the runs that a killed session has left open, as the study knows their end."""
    ended = {record.number: record for record in study.records}
    for number in tracker.open_trials():
        if number in ended:
            # Killed after the study was told of the end, and before the tracker was.
            _close_run(tracker, ended[number])
        else:
            tracker.end_trial(number, "KILLED", {}, {"state": "interrupted"})


def call(executor: Executor, name: str, *arguments: Any) -> Any:
    """Has an idle worker do something, waits for it, and returns what came of it.

    Raises:
        SearchError: if it fails.
    """
    submitted = False
    while True:
        if not submitted and (idle := executor.idle()):
            executor.submit(idle[0], name, name, arguments)
            submitted = True
        for event in _events(executor):
            if event.task == name and event.kind == "done":
                return event.content
            if event.task == name:
                raise SearchError(f"{name} failed: {event.content}")


def _events(executor: Executor) -> Iterator[Event]:
    for event in executor.poll(0.5):
        if event.kind == "refused":
            raise SearchError(event.content)
        yield event


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
        # Worker -> structures that it has compiled.
        self._compiled: dict[int, set[tuple[str, ...]]] = {}
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
        limit = math.inf if trials is None else trials
        while self._study.ended < limit:
            in_time = time_s is None or self._spent_s() < time_s
            if not in_time:
                self._withdraw()
                if not self._study.running:
                    break
            idle = self._executor.idle()
            if in_time:
                self._ask(len(idle), limit)
            self._hand_out(idle)
            if in_time:
                # One ahead, while the workers train: the sampler reads all trials there are.
                self._ask(1, limit)
            for event in _events(self._executor):
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

    def finals(self, records: Sequence[Record], seeds: Sequence[int]) -> dict[int, list[Final]]:
        """Trains losses anew from other initial weights and judges them on the test images.

        What an earlier session has done is read from its files.

        Returns:
            Trial -> its trainings, in the order of the seeds.
        """
        (self._folder / "finals").mkdir(exist_ok=True)
        done: dict[tuple[int, int], Final] = {}
        waiting: list[tuple[Record, int]] = []
        for record in records:
            for seed in seeds:
                stored = files.read_final(self._final_file(record.number, seed))
                if stored is None:
                    waiting.append((record, seed))
                else:
                    done[record.number, seed] = stored
                    # Again, should the earlier session not have come to it.
                    self._track_final(stored, seeds.index(seed))
        total = len(done) + len(waiting)
        self._progress.finals(len(done), total)
        under_way: dict[tuple[int, int], Record] = {}
        failed: dict[tuple[int, int], int] = {}
        while waiting or under_way:
            for worker in self._executor.idle():
                if waiting:
                    record, seed = self._next_for(worker, waiting)
                    task = record.number, seed
                    under_way[task] = record
                    stem = self._final_file(*task).with_suffix("")
                    self._executor.submit(
                        worker, task, "final", (record.number, record.recipe, seed, stem)
                    )
            for event in _events(self._executor):
                if event.kind == "lost":
                    self._compiled.pop(event.worker, None)
                if event.task not in under_way:
                    continue
                task = event.task
                if event.kind == "done":
                    under_way.pop(task)
                    done[task] = event.content
                    files.write_json(self._final_file(*task), asdict(event.content))
                    self._track_final(event.content, seeds.index(task[1]))
                    self._progress.finals(len(done), total)
                elif event.kind in ("failed", "lost"):
                    failed[task] = failed.get(task, 0) + 1
                    record = under_way.pop(task)
                    if failed[task] > 1:
                        raise SearchError(
                            f"training trial {record.number} ({record.recipe.label}) anew with "
                            f"seed {task[1]} failed twice: {event.content}. All other results "
                            "are kept; the same command goes on."
                        )
                    waiting.append((record, task[1]))
        return {record.number: [done[record.number, seed] for seed in seeds] for record in records}

    def call(self, name: str, *arguments: Any) -> Any:
        """Has an idle worker do something else, and waits for it."""
        return call(self._executor, name, *arguments)

    def abandon(self) -> list[int]:
        """Closes the runs of the trials that are under way; the next session repeats them."""
        numbers = sorted(self._study.running)
        begun = set(numbers) - {proposal.number for proposal in self._waiting}
        for number in begun:
            self._tracker.end_trial(number, "KILLED", {}, {"state": "interrupted"})
        return numbers

    def _final_file(self, number: int, seed: int) -> Path:
        return files.final_file(self._folder, number, seed)

    def _track_final(self, final: Final, step: int) -> None:
        """Puts a final training into the run of its trial: one step a seed."""
        if final.diverged:
            return
        means = {f"final_test_{name}": sum(v) / len(v) for name, v in final.test.items()}
        self._tracker.log_epoch(final.trial, step, {"final_validation": final.validation, **means})

    def _next_for(self, worker: int, waiting: list[tuple[Record, int]]) -> tuple[Record, int]:
        """Takes the first task whose step the worker has compiled, else the first one."""
        known = self._compiled.setdefault(worker, set())
        structures = [self._study.space.structure(record.recipe) for record, _ in waiting]
        index = next((i for i, one in enumerate(structures) if one in known), 0)
        known.add(structures[index])
        return waiting.pop(index)

    def _give_up_early(self) -> None:
        failed = [record.note for record in self._told if record.outcome == "failed"]
        if len(failed) >= _FAILURES and len(failed) == len(self._told):
            raise SearchError(
                f"the first {len(failed)} trials failed: {failed[-1]}. Nothing else can be "
                f"expected of the others; see {self._folder / 'workers.log'}."
            )

    def _hand_out(self, idle: Sequence[int]) -> None:
        """Gives waiting trials to idle workers, to one that has compiled their step if any has."""
        free = list(idle)
        while free and self._waiting:
            proposal = self._waiting.pop(0)
            structure = self._study.space.structure(proposal.recipe)
            worker = next((w for w in free if structure in self._compiled.get(w, ())), free[0])
            free.remove(worker)
            self._compiled.setdefault(worker, set()).add(structure)
            self._start(worker, proposal)

    def _start(self, worker: int, proposal: Proposal) -> None:
        number = proposal.number
        self._executor.submit(worker, number, "train", (proposal.recipe,))
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
        if event.kind == "lost":
            self._compiled.pop(event.worker, None)
            if isinstance(event.task, int):
                self._tracker.end_trial(event.task, "FAILED", {}, {"state": "worker lost"})
                record = self._study.interrupt(event.task, event.content)
                if record is None:
                    self._progress.lost(event.task, event.content)
                else:
                    self._told.append(record)
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
            self._end(event.task, "failed", {}, math.nan, event.content)

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
        self._told.append(record)
        now = time.monotonic()
        self._study.spend(now - self._clock)
        self._clock = now
        _close_run(self._tracker, record)
        self._progress.ended(record, self._study.best)


def _close_run(tracker: Tracker, record: Record) -> None:
    tags = {"state": record.outcome, **({"note": record.note} if record.note else {})}
    found = {f"best_{name}": value for name, value in record.values.items()}
    metrics = {"best_score": record.score, "duration_s": record.seconds, **found}
    tracker.end_trial(record.number, _STATUS[record.outcome], metrics, tags)


def _in_use(logs: Mapping[str, float], recipe: Recipe) -> dict[str, float]:
    """Leaves out the terms that only ride along in the compiled step."""
    unused = {term for term, weight in recipe.weights.items() if weight == 0}
    if recipe.auxiliary_scale == 0:
        unused.add(f"auxiliary/{recipe.auxiliary}")
    return {
        name: value for name, value in logs.items() if name.removeprefix("weight/") not in unused
    }
