"""A search that trains nothing and draws nothing; its databases and files are real."""

import zlib

import numpy as np
from kerasloss_search.dataset import Dataset
from kerasloss_search.executor import Event
from kerasloss_search.jobs import Epoch, Final, Result


def search(patch, pool=None):
    """Has `session.run` use a stub; `patch` is called like `setattr`."""
    from kerasloss_search import conclusion, session

    patch(session, "LocalPool", pool or StubPool)
    # Matplotlib takes longer than all the rest.
    patch(conclusion, "write_report", _no_pictures)


def _no_pictures(folder):
    (folder / "report.html").write_text("report")
    return [folder / "report.html"]


class StubPool:
    """One worker whose trials end at once, with a score that depends on the loss alone."""

    workers = 1

    def __init__(self, settings, *, workers, backend, log):
        self._settings = settings
        self._data = Dataset.load_npz(settings.data)
        self._work = None
        self._task = None

    def idle(self):
        return [0] if self._work is None else []

    def submit(self, worker, task, call, arguments):
        self._task, self._work = task, getattr(self, f"_{call}")(*arguments)

    def answer(self, worker, go_on):
        self._go_on = go_on

    def poll(self, timeout_s):
        if self._work is None:
            return
        kind, content = next(self._work)
        if kind != "epoch":
            self._work = None
        yield Event(0, kind, self._task, content)

    def close(self):
        pass

    def _train(self, recipe):
        score = zlib.crc32(repr(recipe).encode()) / 2**32
        for index in range(self._settings.epochs):
            yield "epoch", Epoch(index, score, 0.1, {"loss": 1.0 - score, "dice": 1.0 - score})
        yield "done", Result("complete", {"dice": score}, 0, 0.01)

    def _final(self, trial, recipe, seed, stem):
        score = zlib.crc32(repr((recipe, seed)).encode()) / 2**32
        test = self._data.test
        np.savez(stem.with_suffix(".npz"), labels=self._data.masks[test])
        np.savez(stem.with_suffix(".weights.npz"), np.zeros(10))
        values = np.linspace(0.2, 0.8, len(test)).tolist()
        yield "done", Final(trial, seed, score, {"dice": values}, [score], 0.01)

    def _export(self, recipe, weights, folder):
        with np.load(weights, allow_pickle=False) as stored:
            assert stored["arr_0"].shape == (10,)
        for name in ("best_loss.json", "best_model.keras"):
            (folder / name).write_text(repr(recipe))
        yield "done", None
