"""Worker processes: they live from task to task, and their death is noticed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from kerasloss_search import executor
from kerasloss_search.dataset import Dataset
from kerasloss_search.driver import Driver
from kerasloss_search.executor import LocalPool, gpu_count
from kerasloss_search.jobs import Settings
from kerasloss_search.space import Space
from kerasloss_search.study import Study
from kerasloss_search.tracking import NullTracker


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    rng = np.random.default_rng(0)
    images = rng.random((12, 16, 16, 1), dtype="float32")
    names = tuple(f"image {index}" for index in range(12))
    data = Dataset(
        images,
        (images[..., 0] > 0.8).astype("uint8"),
        names,
        names,
        np.arange(6),
        np.arange(6, 9),
        np.arange(9, 12),
        classes=2,
    )
    path = tmp_path_factory.mktemp("data") / "data.npz"
    data.save(path)
    return Settings(
        path,
        Space.of(("dice", "cross_entropy"), steps=6),
        epochs=2,
        batch_size=3,
        model_options={"width": 4, "depth": 1},
    )


def until(pool, kind, deadline_s=180):
    """The next event of a kind; epochs on the way are answered with yes."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        for event in pool.poll(1.0):
            if event.kind == kind:
                return event
            if event.kind == "epoch":
                pool.answer(event.worker, True)
    raise AssertionError(f"no {kind!r} event")


def test_tasks_and_a_killed_worker(settings, tmp_path):
    pool = LocalPool(settings, workers=1, backend="jax", log=tmp_path / "log")
    try:
        assert pool.idle() == []
        until(pool, "ready")
        assert pool.idle() == [0]
        space = settings.space
        recipe = space.decode(space.baselines()["dice"])

        pool.submit(0, 7, "train", (recipe,))
        assert pool.idle() == []
        done = until(pool, "done")
        assert (done.task, done.content.outcome) == (7, "complete")
        assert set(done.content.values) == {"dice"}

        pool.submit(0, "final", "final", (7, recipe, 1000, tmp_path / "7-1000"))
        final = until(pool, "done").content
        assert (final.trial, final.seed, len(final.curve)) == (7, 1000, 2)
        assert len(final.test["dice"]) == 3
        with np.load(tmp_path / "7-1000.npz") as stored:
            assert stored["labels"].shape == (3, 16, 16)

        # The driver's no ends a trial after the epoch it has reported.
        pool.submit(0, 8, "train", (recipe,))
        assert until(pool, "epoch").content.index == 0
        pool.answer(0, False)
        assert until(pool, "done").content.outcome == "stopped"

        pool.submit(0, "nonsense", "no_such_call", ())
        failed = until(pool, "failed")
        assert failed.content.startswith("AttributeError: ") and "no_such_call" in failed.content
        assert pool.idle() == [0]

        # That was the task's own fault; a full disk is not, and every other would meet it.
        finals = tmp_path / "finals"
        finals.mkdir()
        (finals / f".{pool._processes[0].pid}.0010-1000.npz").symlink_to("/dev/full")
        pool.submit(0, 10, "final", (10, recipe, 1000, finals / "0010-1000"))
        refused = until(pool, "refused")
        assert refused.task == 10
        assert "is full: free some space" in refused.content
        pool._tasks.clear()

        pool.submit(0, 9, "train", (recipe,))
        until(pool, "epoch")
        os.kill(pool._processes[0].pid, signal.SIGKILL)
        lost = until(pool, "lost")
        assert lost.task == 9
        for words in ("killed (code -9)", "memory runs out", "--batch-size"):
            assert words in lost.content
        # Another takes its place.
        until(pool, "ready")
        assert pool.idle() == [0]
        # One that gets something done has not died in a row.
        assert pool._starts == {0: 2}
        pool.submit(0, 11, "train", (recipe,))
        until(pool, "done")
        assert pool._starts == {0: 1}
    finally:
        pool.close()
    assert not pool._processes[0].is_alive()


class Nobody:
    def started(self, proposal): ...

    def ended(self, record, best): ...


def test_one_seed_gives_one_search(settings, tmp_path):
    """With one worker, whatever it trained before: a second one would take seconds to start."""
    found = []
    pool = LocalPool(settings, workers=1, backend="jax", log=tmp_path / "log")
    try:
        for name in ("a", "b"):
            folder = tmp_path / name
            folder.mkdir()
            study = Study(folder, settings.space, identity={}, epochs=2, seed=3)
            # More than the sampler draws before it looks at what was found.
            Driver(study, pool, NullTracker(), folder, Nobody()).search(14)
            found.append([(r.params, r.outcome, r.values, r.curve) for r in study.records])
    finally:
        pool.close()
    assert len(found[0]) == 14
    assert found[0] == found[1]


class Tasks:
    """A worker's tasks, of which all fail; `renew` says what the driver has heard until then."""

    def __init__(self, ours, broken):
        self.ours, self.broken, self.heard = ours, broken, []

    def fail(self):
        raise RuntimeError("boom")

    def renew(self):
        self.heard.append(self.ours.poll(0.1))
        if self.broken:
            raise MemoryError("no room for a network")


@pytest.mark.parametrize(("broken", "kind"), [(False, "failed"), (True, "broken")])
def test_a_worker_is_whole_again_before_it_says_that_a_task_has_failed(broken, kind):
    ours, theirs = multiprocessing.Pipe()
    tasks = Tasks(ours, broken)
    worker = threading.Thread(target=executor._serve, args=(theirs, tasks), daemon=True)
    worker.start()
    ours.send(("fail", ()))
    assert ours.recv() == (kind, "RuntimeError: boom")
    assert tasks.heard == [False]
    if broken:
        worker.join(10)  # by itself: it can do nothing more
    else:
        ours.send(("fail", ()))
        assert ours.recv() == (kind, "RuntimeError: boom")
        ours.close()
        worker.join(10)
    assert not worker.is_alive()


class Broken(LocalPool):
    """Workers that fail at their task and cannot be renewed."""

    def _start(self, worker):
        ours, theirs = multiprocessing.Pipe()
        self._starts[worker] += 1
        self._pipes[worker] = ours
        self._processes[worker] = self._context.Process(target=print)
        self._processes[worker].start()
        theirs.send(("ready", None))
        self.theirs = theirs


def test_a_worker_that_cannot_be_renewed_gets_no_other_task(settings, tmp_path):
    pool = Broken(settings, workers=1, backend="jax", log=tmp_path / "log")
    try:
        for _ in range(LocalPool._restarts):
            until(pool, "ready")
            pool.submit(0, 5, "train", ())
            assert pool.theirs.recv() == ("train", ())
            pool.theirs.send(("broken", "no memory"))
            failed = until(pool, "failed")
            assert (failed.task, failed.content) == (5, "no memory")
            # Its process has not ended yet, and a task that it was given now would be lost.
            assert pool.idle() == []
            pool.theirs.close()
            assert until(pool, "lost").task is None
        until(pool, "ready")
        pool.theirs.send(("broken", "no memory"))
        until(pool, "failed")
        pool.theirs.close()
        assert "died 4 times in a row" in until(pool, "refused").content
    finally:
        pool.close()


DRIVER = """
import sys, time
from kerasloss_search.driver import Driver
from kerasloss_search.executor import LocalPool
from kerasloss_search.jobs import Settings
from kerasloss_search.space import Space
from pathlib import Path

if __name__ == "__main__":
    data, space = Path(sys.argv[1]), Space()
    pool = LocalPool(
        Settings(data, space, epochs=100_000, model_options={"width": 2, "depth": 1}),
        workers=1, backend="torch", log=data.parent / "log",
    )
    while not pool.idle():
        list(pool.poll(1.0))
    recipe = space.decode(space.baselines()["dice"])
    pool.submit(0, "final", "final", (0, recipe, 1000, data.parent / "0000-1000"))
    print(pool._processes[0].pid, flush=True)
    time.sleep(600)
"""


def test_a_worker_dies_with_its_driver(settings, tmp_path):
    """In mid-training, too, where it has nothing to report: the next session needs its GPU."""
    (tmp_path / "driver.py").write_text(DRIVER)
    driver = subprocess.Popen(
        [sys.executable, str(tmp_path / "driver.py"), str(settings.data)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    worker = int(driver.stdout.readline())
    time.sleep(0.5)
    os.kill(worker, 0)
    driver.kill()
    driver.wait()
    driver.stdout.close()
    end = time.monotonic() + 30
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < end:
            os.kill(worker, 0)
            time.sleep(0.1)


def test_a_worker_that_cannot_start_says_why(settings, tmp_path):
    bad = Settings(settings.data, settings.space, model="no_such_module:net")
    pool = LocalPool(bad, workers=1, backend="jax", log=tmp_path / "log")
    try:
        refused = until(pool, "refused")
        assert "no_such_module" in refused.content
        assert refused.content.startswith("--model: cannot import")
    finally:
        pool.close()


def test_a_worker_that_dies_again_and_again_is_not_started_for_ever(
    settings, tmp_path, monkeypatch
):
    # The first thing that a worker imports is not Keras, but this.
    (tmp_path / "keras.py").write_text("import os\nos._exit(7)\n")
    monkeypatch.syspath_prepend(tmp_path)
    pool = LocalPool(settings, workers=1, backend="jax", log=tmp_path / "log")
    try:
        for _ in range(LocalPool._restarts):
            assert "ended with code 7" in until(pool, "lost").content
        refused = until(pool, "refused")
        assert "died 4 times in a row" in refused.content
        assert "code 7" in refused.content
    finally:
        pool.close()


def test_gpus_are_those_that_are_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_count() == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert gpu_count() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpu_count() == 0


def test_a_log_that_cannot_be_written(settings, tmp_path, capfd):
    """No traceback of a worker reaches the terminal."""
    (tmp_path / "log").mkdir()
    with pytest.raises(IsADirectoryError, match="log"):
        LocalPool(settings, workers=1, backend="torch", log=tmp_path / "log")
    assert capfd.readouterr() == ("", "")


def test_a_log_that_is_taken_away_before_a_worker_has_it(settings, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(LocalPool, "_start", spoilt(LocalPool._start, tmp_path / "log"))
    pool = LocalPool(settings, workers=1, backend="torch", log=tmp_path / "log")
    try:
        refused = until(pool, "refused")
    finally:
        pool.close()
    assert refused.content.startswith(f"{tmp_path / 'log'} is a folder, a file is needed there")
    assert capfd.readouterr() == ("", "")


def spoilt(start, log):
    def instead(pool, worker):
        log.unlink()
        log.mkdir()
        start(pool, worker)

    return instead


INTERRUPTED = """
import sys, time
from pathlib import Path

here = Path(sys.argv[1] if __name__ == "__main__" else __file__).parent

if __name__ == "__main__":
    from kerasloss_search.executor import LocalPool
    from kerasloss_search.jobs import Settings
    from kerasloss_search.space import Space

    pool = None
    try:
        pool = LocalPool(
            Settings(here / "data.npz", Space()), workers=1, backend="torch", log=here / "log"
        )
        time.sleep(60)
    except KeyboardInterrupt:
        if pool is not None:
            pool.close()
        print("stopped", flush=True)
else:  # A worker imports this file before anything of ours.
    (here / "starting").touch()
    time.sleep(2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
def test_ctrl_c_while_a_worker_starts(tmp_path):
    (tmp_path / "driver.py").write_text(INTERRUPTED)
    driver = subprocess.Popen(
        [sys.executable, str(tmp_path / "driver.py"), str(tmp_path / "driver.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while not (tmp_path / "starting").exists() and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
    assert driver.communicate(timeout=60) == ("stopped\n", "")
