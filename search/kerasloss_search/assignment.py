"""Which worker takes which task: rather one that has compiled its training step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from kerasloss_search.jobs import KEPT_STEPS

__all__ = ["Assignment"]

Structure = tuple[str, ...]
Task = TypeVar("Task", bound=Hashable)


class Assignment:
    """Remembers the steps that every worker has compiled, as the worker does: the last few.

    Args:
        workers: their number. A task that was passed over so often goes next, since a sampler
            learns nothing from a trial that waits.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._compiled: dict[int, OrderedDict[Structure, None]] = {}
        self._passed: dict[Hashable, int] = {}

    def deal(
        self, idle: Sequence[int], waiting: Mapping[Task, Structure]
    ) -> list[tuple[int, Task]]:
        """Chooses a task for every idle worker, for as long as there are any.

        Args:
            idle: workers without a task.
            waiting: task -> structure of its step, the oldest first.
        """
        free, left = list(idle), dict(waiting)
        dealt: list[tuple[int, Task]] = []

        def give(worker: int, task: Task) -> None:
            for older in left:
                if older == task:
                    break
                self._passed[older] = self._passed.get(older, 0) + 1
            self._passed.pop(task, None)
            self.compiles(worker, left.pop(task))
            free.remove(worker)
            dealt.append((worker, task))

        while free and left and self._passed.get(next(iter(left)), 0) >= self._workers:
            task = next(iter(left))
            give(next((w for w in free if self._has(w, left[task])), free[0]), task)
        # All that fit before any that does not: else it might take the task of another worker.
        for worker in tuple(free):
            fitting = [task for task, structure in left.items() if self._has(worker, structure)]
            if fitting:
                give(worker, fitting[0])
        while free and left:
            give(free[0], next(iter(left)))
        return dealt

    def fitting(self, worker: int, structures: Sequence[Structure]) -> int:
        """Index of the first task whose step the worker has compiled, else of the first one."""
        return next((i for i, one in enumerate(structures) if self._has(worker, one)), 0)

    def compiles(self, worker: int, structure: Structure) -> None:
        """A worker is given a task with this structure."""
        steps = self._compiled.setdefault(worker, OrderedDict())
        steps[structure] = None
        steps.move_to_end(structure)
        while len(steps) > KEPT_STEPS:
            steps.popitem(last=False)

    def forget(self, worker: int) -> None:
        """A worker builds everything anew."""
        self._compiled.pop(worker, None)

    def _has(self, worker: int, structure: Structure) -> bool:
        return structure in self._compiled.get(worker, ())
