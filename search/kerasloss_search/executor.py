"""Where trials run: worker processes on this machine that live from trial to trial."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kerasloss_search import trouble
from kerasloss_search.space import Recipe
from kerasloss_search.spawning import safe_path, undisturbed

__all__ = ["Event", "Executor", "LocalPool", "gpu_count"]


@dataclass(frozen=True)
class Event:
    """Something that a worker reports.

    Attributes:
        worker: which one.
        kind: `"ready"`, `"epoch"` (it waits for `answer`), `"done"`, `"failed"` (the task ended
            with an exception), `"lost"` (the process is gone) or `"refused"` (no task can be
            done here: it cannot start, or the disk is full).
        task: what it was working on.
        content: of the report.
    """

    worker: int
    kind: str
    task: Any
    content: Any


class Executor(Protocol):
    """What the driver needs of a place to run trials."""

    @property
    def workers(self) -> int:
        """Their number, busy and idle."""

    def idle(self) -> list[int]:
        """Workers without a task."""

    def submit(self, worker: int, task: Any, call: str, arguments: tuple[Any, ...]) -> None:
        """Hands a task to an idle worker."""

    def answer(self, worker: int, go_on: bool) -> None:
        """Answers an `"epoch"` event."""

    def poll(self, timeout_s: float) -> Iterator[Event]:
        """Yields what has happened, waiting for the first event at most so long."""

    def close(self) -> None:
        """Ends all workers at once."""


def gpu_count() -> int:
    """Number of NVIDIA GPUs that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())


class LocalPool:
    """Spawned processes, one network each; the GPUs are dealt out among them.

    A process that dies is started again. Its task is reported as lost and not repeated here: the
    driver decides.

    Args:
        settings: `kerasloss_search.trial.Settings`, for every worker.
        workers: number of processes.
        backend: value of KERAS_BACKEND.
        log: file that takes what the workers and their libraries print.

    Raises:
        OSError: if the log cannot be written.
    """

    _restarts = 3

    def __init__(self, settings: Any, *, workers: int, backend: str, log: Path) -> None:
        self._settings = settings
        self._backend = backend
        self._log = log
        self._context = multiprocessing.get_context("spawn")
        self._gpus = gpu_count()
        self._tasks: dict[int, Any] = {}
        self._ready: set[int] = set()
        self._starts = dict.fromkeys(range(workers), 0)
        self._processes: dict[int, Any] = {}
        self._pipes: dict[int, multiprocessing.connection.Connection] = {}
        # Here, where it can be told in a line if that is not possible.
        with log.open("ab"):
            pass
        try:
            for worker in range(workers):
                self._start(worker)
        except BaseException:
            self.close()
            raise

    def _start(self, worker: int) -> None:
        ours, theirs = self._context.Pipe()
        environment = {"KERAS_BACKEND": self._backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        # What one worker has compiled the others find here, as does the next session.
        environment["JAX_COMPILATION_CACHE_DIR"] = str(self._log.parent / "compiled")
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        environment["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
        if self._gpus:
            devices = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            own = worker % self._gpus
            environment["CUDA_VISIBLE_DEVICES"] = devices[own] if devices != [""] else str(own)
            # Several workers may share a GPU: none may take all of its memory.
            environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
            environment["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        process = self._context.Process(
            target=_work, args=(theirs, self._settings, environment, self._log), daemon=True
        )
        with safe_path(), undisturbed():
            process.start()
        theirs.close()
        self._starts[worker] += 1
        self._processes[worker], self._pipes[worker] = process, ours

    @property
    def workers(self) -> int:
        return len(self._starts)

    def idle(self) -> list[int]:
        return sorted(self._ready - self._tasks.keys())

    def submit(self, worker: int, task: Any, call: str, arguments: tuple[Any, ...]) -> None:
        self._tasks[worker] = task
        self._send(worker, (call, arguments))

    def answer(self, worker: int, go_on: bool) -> None:
        self._send(worker, go_on)

    def poll(self, timeout_s: float) -> Iterator[Event]:
        pipes = {pipe: worker for worker, pipe in self._pipes.items()}
        for pipe in multiprocessing.connection.wait(list(pipes), timeout_s):
            worker = pipes[pipe]  # type: ignore[index]
            try:
                kind, content = self._pipes[worker].recv()
            except (EOFError, OSError):
                yield self._lost(worker)
                continue
            task = self._tasks.get(worker)
            if kind == "ready":
                self._ready.add(worker)
            elif kind in ("done", "failed"):
                self._tasks.pop(worker, None)
                # Only deaths in a row count: a long search may lose a worker now and then.
                self._starts[worker] = 1
            elif kind == "broken":
                # The task has failed, and the process ends now; until then it can take no other.
                self._tasks.pop(worker, None)
                self._ready.discard(worker)
                kind = "failed"
            yield Event(worker, kind, task, content)

    def close(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.join(5)
            if process.is_alive():
                process.kill()
        for pipe in self._pipes.values():
            pipe.close()

    def _send(self, worker: int, message: Any) -> None:
        try:
            self._pipes[worker].send(message)
        except OSError:
            pass  # It died; the end of its pipe is reported by the next `poll`.

    def _lost(self, worker: int) -> Event:
        self._processes[worker].join(5)
        code = self._processes[worker].exitcode
        task = self._tasks.pop(worker, None)
        self._ready.discard(worker)
        self._pipes.pop(worker).close()
        if self._starts[worker] > self._restarts:
            deaths = f"worker {worker} died {self._starts[worker]} times in a row"
            return Event(worker, "refused", task, f"{deaths}: {trouble.died(code)}")
        self._start(worker)
        return Event(worker, "lost", task, trouble.died(code))


def _work(
    pipe: multiprocessing.connection.Connection,
    settings: Any,
    environment: dict[str, str],
    log: Path,
) -> None:
    """The life of a worker process."""
    # Ctrl-C reaches the whole group; the driver alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_the_driver, daemon=True).start()
    os.environ.update(environment)
    try:
        sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    except OSError as problem:
        pipe.send(("refused", trouble.explain(problem, log.parent) or trouble.one_line(problem)))
        return
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    try:
        # Only now: the backend and its device are chosen at import.
        from kerasloss_search.trial import Bench

        bench = Bench(settings)
    except Exception as problem:
        _log_traceback()
        pipe.send(("refused", _refusal(problem, settings)))
        return
    pipe.send(("ready", None))
    tasks = _Tasks(bench, pipe)
    del bench
    _serve(pipe, tasks)


def _serve(pipe: multiprocessing.connection.Connection, tasks: _Tasks) -> None:
    """Does what the driver asks for, until it is gone or nothing can be done any more."""
    going = True
    while going:
        try:
            call, arguments = pipe.recv()
        except (EOFError, OSError):
            return  # The driver is gone.
        try:
            answer = "done", getattr(tasks, call)(*arguments)
        except _DriverGone:
            return
        except _NoDisk as problem:
            _log_traceback()
            answer = "refused", str(problem)
        except Exception as problem:
            _log_traceback()
            answer = "failed", trouble.out_of_memory(problem) or trouble.one_line(problem)
        if answer[0] == "failed":
            # A step that broke off may have taken the network's variables with it. Not inside of
            # `except`: there the traceback still holds the tensors that were too many. Before the
            # driver knows: the next task must not be charged with what may come of it.
            going = _renewed(tasks)
        try:
            pipe.send(answer if going else ("broken", answer[1]))
        except OSError:
            return  # The driver is gone.


def _renewed(tasks: _Tasks) -> bool:
    try:
        tasks.renew()
    except Exception:
        _log_traceback()
        return False
    return True


def _die_with_the_driver() -> None:
    """Ends this process with its parent, be it in mid-training: the next session is its rival."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _refusal(problem: Exception, settings: Any) -> str:
    """Why no trial can be run, as a line."""
    if isinstance(problem, ValueError) and str(problem).startswith("--"):
        return " ".join(str(problem).split())
    reason = trouble.out_of_memory(problem) or trouble.one_line(problem)
    model = "" if settings.model == "unet" else f"--model {settings.model}: "
    return f"{model}{reason}. The whole story is in workers.log."


def _log_traceback() -> None:
    # The log may lie on the full disk that is the problem.
    with suppress(OSError):
        traceback.print_exc()


class _DriverGone(Exception):
    """Nobody listens any more: no sense in training on."""


class _NoDisk(Exception):
    """What a trial has found cannot be written: no other trial could be kept either."""


class _Tasks:
    """What a worker can be asked to do, by name."""

    def __init__(self, bench: Any, pipe: multiprocessing.connection.Connection) -> None:
        self._bench = bench
        self._pipe = pipe

    def renew(self) -> None:
        """Builds everything anew."""
        kind, settings = type(self._bench), self._bench.settings
        # Never two of them at a time: memory may be short.
        self._bench = None
        gc.collect()
        self._bench = kind(settings)

    def train(self, recipe: Recipe) -> Any:
        """Trains a trial, reporting every epoch."""

        def report(epoch: Any) -> bool:
            try:
                self._pipe.send(("epoch", epoch))
                return bool(self._pipe.recv())
            except (EOFError, OSError) as gone:
                raise _DriverGone from gone

        return self._bench.run(recipe, report)

    def final(self, trial: int, recipe: Recipe, seed: int, stem: Path) -> Any:
        """Trains a loss anew and judges it on the test images."""
        with _disk(stem.parents[1]):
            return self._bench.final(trial, recipe, seed, stem)

    def export(self, recipe: Recipe, weights: Path, folder: Path) -> None:
        """Writes the best loss and the best model."""
        with _disk(folder):
            self._bench.export(recipe, weights, folder)


@contextlib.contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Tells a problem with the disk, which ends a search, from one of a single training."""
    try:
        yield
    except OSError as problem:
        line = trouble.explain(problem, folder) or trouble.one_line(problem)
        raise _NoDisk(line) from problem
