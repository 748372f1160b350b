"""Worker processes: they live from task to task, and their death is noticed."""

import os
import signal
import time

import numpy as np
import pytest
from kerasloss_search.dataset import Dataset
from kerasloss_search.executor import LocalPool, gpu_count
from kerasloss_search.jobs import Settings
from kerasloss_search.space import Space


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
        Space(terms=("dice", "cross_entropy"), steps=6),
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

        pool.submit(0, 7, "train", (recipe, tmp_path / "7.npz"))
        assert pool.idle() == []
        done = until(pool, "done")
        assert (done.task, done.content.outcome) == (7, "complete")
        assert (tmp_path / "7.npz").exists()

        pool.submit(0, "judge", "judge", (tmp_path / "7.npz", 2))
        values, samples = until(pool, "done").content
        assert values.shape == (3,)
        assert samples.shape == (2, 16, 16)

        # The driver's no ends a trial after the epoch it has reported.
        pool.submit(0, 8, "train", (recipe, tmp_path / "8.npz"))
        assert until(pool, "epoch").content.index == 0
        pool.answer(0, False)
        assert until(pool, "done").content.outcome == "stopped"

        pool.submit(0, "nonsense", "no_such_call", ())
        failed = until(pool, "failed")
        assert "no_such_call" in failed.content
        assert pool.idle() == [0]

        pool.submit(0, 9, "train", (recipe, tmp_path / "9.npz"))
        until(pool, "epoch")
        os.kill(pool._processes[0].pid, signal.SIGKILL)
        lost = until(pool, "lost")
        assert lost.task == 9
        assert "-9" in lost.content
        # Another takes its place.
        until(pool, "ready")
        assert pool.idle() == [0]
    finally:
        pool.close()
    assert not pool._processes[0].is_alive()


def test_a_worker_that_cannot_start_says_why(settings, tmp_path):
    bad = Settings(settings.data, settings.space, model="no_such_module:net")
    pool = LocalPool(bad, workers=1, backend="jax", log=tmp_path / "log")
    try:
        refused = until(pool, "refused")
        assert "no_such_module" in refused.content
    finally:
        pool.close()


def test_gpus_are_those_that_are_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_count() == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert gpu_count() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpu_count() == 0
