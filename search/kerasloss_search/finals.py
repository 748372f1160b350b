"""The final stage: losses are trained anew from other initial weights, each training once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from kerasloss_search import files
from kerasloss_search.assignment import Assignment
from kerasloss_search.executor import Executor
from kerasloss_search.jobs import Final
from kerasloss_search.orders import SearchError, events
from kerasloss_search.recording import log_final
from kerasloss_search.records import Record
from kerasloss_search.space import Space
from kerasloss_search.tracking import Tracker

__all__ = ["FinalStage", "Trained"]

# One failure may be the worker's; two are the training's.
_TRIES = 2


@dataclass(frozen=True)
class Trained:
    """What became of the losses.

    Attributes:
        finals: trial -> its trainings, in the order of the seeds; without those that failed.
        failed: trial that could not be trained -> why, as a clause.
    """

    finals: dict[int, list[Final]]
    failed: dict[int, str]


class Progress(Protocol):
    """What the stage tells whoever shows its progress."""

    def finals(self, done: int, total: int) -> None:
        """So many of the trainings are done."""


@dataclass
class FinalStage:
    """Trains losses anew, each from several initial weights.

    What an earlier session has done is read from its files.

    Attributes:
        records: the losses.
        seeds: of the initial weights.
    """

    records: Sequence[Record]
    seeds: Sequence[int]
    space: Space
    executor: Executor
    tracker: Tracker
    folder: Path
    progress: Progress
    assignment: Assignment
    _done: dict[tuple[int, int], Final] = field(default_factory=dict)
    _waiting: list[tuple[Record, int]] = field(default_factory=list)
    _under_way: dict[tuple[int, int], Record] = field(default_factory=dict)
    _failures: dict[tuple[int, int], int] = field(default_factory=dict)
    _failed: dict[int, str] = field(default_factory=dict)

    def run(self) -> Trained:
        """Trains what is not trained yet.

        Raises:
            SearchError: if no loss could be trained.
        """
        (self.folder / "finals").mkdir(exist_ok=True)
        self._look()
        total = len(self._done) + len(self._waiting)
        self.progress.finals(len(self._done), total)
        while self._waiting or self._under_way:
            for worker in self.executor.idle():
                if self._waiting:
                    self._submit(worker)
            for event in events(self.executor):
                if event.kind in ("lost", "failed"):
                    self.assignment.forget(event.worker)
                if event.task not in self._under_way:
                    continue
                if event.kind == "done":
                    self._keep(event.task, event.content)
                    self.progress.finals(len(self._done), total)
                elif event.kind in ("failed", "lost"):
                    self._again(event.task, event.content)
        if self._failed and len(self._failed) == len(self.records):
            label = self.records[-1].recipe.label
            raise SearchError(
                f"{label}: {self._failed[self.records[-1].number]}, and no other loss could be "
                "trained anew. All other results are kept; the same command goes on."
            )
        finals = {
            record.number: [self._done[record.number, seed] for seed in self.seeds]
            for record in self.records
            if record.number not in self._failed
        }
        return Trained(finals, self._failed)

    def _look(self) -> None:
        for record in self.records:
            for seed in self.seeds:
                stored = files.read_final(self._file((record.number, seed)))
                # The number alone does not say so: where an older study.db was restored, or none
                # was left, another loss may have it now.
                if stored is None or stored.recipe != record.recipe.fingerprint:
                    self._waiting.append((record, seed))
                else:
                    self._done[record.number, seed] = stored
                    # Again, should the earlier session not have come to it.
                    log_final(self.tracker, stored, self.seeds.index(seed))

    def _submit(self, worker: int) -> None:
        structures = [self.space.structure(record.recipe) for record, _ in self._waiting]
        index = self.assignment.fitting(worker, structures)
        self.assignment.compiles(worker, structures[index])
        record, seed = self._waiting.pop(index)
        task = record.number, seed
        self._under_way[task] = record
        stem = self._file(task).with_suffix("")
        self.executor.submit(worker, task, "final", (record.number, record.recipe, seed, stem))

    def _keep(self, task: tuple[int, int], content: Any) -> None:
        record = self._under_way.pop(task)
        final = replace(content, recipe=record.recipe.fingerprint)
        self._done[task] = final
        files.write_json(self._file(task), asdict(final))
        log_final(self.tracker, final, self.seeds.index(task[1]))

    def _again(self, task: tuple[int, int], reason: str) -> None:
        record = self._under_way.pop(task)
        if record.number in self._failed:
            return
        self._failures[task] = self._failures.get(task, 0) + 1
        if self._failures[task] < _TRIES:
            self._waiting.append((record, task[1]))
            return
        self._failed[record.number] = f"training with seed {task[1]} failed twice ({reason})"
        # Without this one the loss cannot be compared: its others would be in vain.
        self._waiting = [one for one in self._waiting if one[0].number != record.number]

    def _file(self, task: tuple[int, int]) -> Path:
        return files.final_file(self.folder, *task)
