"""The record of a study: what happens goes to a journal, and from there to MLflow."""

from __future__ import annotations

import importlib.util
import math
import posixpath
import re
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kerasloss_search.outbox import JOURNAL, Courier, Outbox, one_line, read, without_password
from kerasloss_search.tracking.delivery import Delivery, settings
from kerasloss_search.tracking.stores import checked_uri, store_uri

__all__ = ["NullTracker", "Status", "Tracker", "last_store"]

Status = Literal["FINISHED", "KILLED", "FAILED"]

_NONFINITE = "kerasloss.nonfinite"
# What the database in the search's own folder is called.
_OWN = "own"


@dataclass
class _Trial:
    """What has to be known about a trial while it runs."""

    last_epoch: int = 0
    nonfinite: set[str] = field(default_factory=set)


class Tracker:
    """Record of a study: a parent run with one child run a trial.

    Every method writes to a journal in `folder` and returns; a background thread delivers the
    journal to MLflow. A tracker on a folder that has a journal continues where delivery stopped
    and takes part in its last study, unless `open_study` names another. Calls that the journal
    already holds for a study change nothing.

    Args:
        folder: The search's folder.
        uri: MLflow tracking URI; None for `mlflow.db` and `mlartifacts` in `folder`.
        experiment: Name of the MLflow experiment; used when the study is new.

    Attributes:
        study: Id of the study that is recorded; None before it has begun.
        started: Numbers of its trials that were started, in this process or before it.
    """

    def __init__(self, folder: Path, *, uri: str | None, experiment: str) -> None:
        own = store_uri(folder)
        uri = own if uri is None else checked_uri(uri)
        if not experiment.strip():
            raise ValueError(f"`experiment` must be a name. Received: {experiment!r}.")
        if importlib.util.find_spec("mlflow") is None:
            raise ModuleNotFoundError(
                'Tracking needs MLflow: pip install "kerasloss[search]"', name="mlflow"
            )
        self._folder = folder.resolve()
        # The own store has no path in its name, so that a folder may be moved.
        self._outbox = Outbox(self._folder, store=_OWN if uri == own else uri)
        self._store = _OWN if uri == own else without_password(uri)
        self._experiment = experiment
        self._lost: str | None = None
        self._begin()
        for event in self._outbox.events():
            self._remember(event.kind, event.key, event.data)
        self._settings = ExitStack()
        self._settings.enter_context(settings())
        self._courier = Courier(self._outbox, Delivery(uri, self._folder, self._outbox.state))

    def _begin(self) -> None:
        """What is known before the journal is read."""
        self.study: str | None = None
        self.started: set[int] = set()
        self._wanted: str | None = None
        self._studies: set[str] = set()
        # Stands before every key: another study in this folder gives the same numbers.
        self._prefix = ""
        self._sessions = self._artifacts = 0
        self._running = False
        self._trials: dict[int, _Trial] = {}

    @property
    def pending(self) -> int:
        """Number of events that MLflow does not have yet."""
        return self._outbox.pending

    @property
    def delivered(self) -> int:
        """Number of events that MLflow has taken from this tracker."""
        return self._outbox.delivered

    @property
    def lost(self) -> str | None:
        """The last event that could not be written to the journal, as one line, or None."""
        return self._lost

    @property
    def error(self) -> str | None:
        """The last problem with writing or delivering as one line, or None."""
        return self._lost or self._courier.error

    def open_trials(self) -> list[int]:
        """Return the trials that were started and not ended, in this process or before it."""
        return sorted(self._trials)

    def knows(self, study: str) -> bool:
        """Return whether the journal holds a study, be it the last one or not."""
        return study in self._studies

    def open_study(self, study: str) -> None:
        """Record this study from now on; one that the journal does not end with begins anew.

        Raises:
            ValueError: the journal holds the study, and another one after it.
        """
        if study == self.study:
            return
        if self.knows(study):
            raise ValueError(f"`study` must be new or the last one. Received: {study!r}.")
        # What a killed session has left open would stay so for ever.
        for number in self.open_trials():
            self.end_trial(number, "KILLED", {}, {"state": "interrupted"})
        if self._running:
            self.end_study("KILLED", {}, {})
        self._wanted = study
        self._open()

    def start_study(self, params: Mapping[str, object], tags: Mapping[str, object]) -> None:
        """Start the parent run, or set it to running again in a later session.

        A parameter that changed since the first session is kept there and tagged
        `resumed.<name>`, because MLflow writes parameters once.
        """
        data = {"params": _texts(params), "tags": _texts(tags), "store": self._store}
        self._append("study_start", f"study/start/{self._sessions}", data, sync=True)

    def start_trial(
        self, number: int, params: Mapping[str, object], tags: Mapping[str, object]
    ) -> None:
        """Start the run of trial `number`, named after the tag `loss` or else `loss_family`."""
        data = {"number": number, "params": _texts(params), "tags": _texts(tags)}
        self._append("trial_start", f"trial/{number}/start", data, sync=True)

    def log_epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of one epoch; the names of non-finite ones become a tag."""
        values, nonfinite = _split(metrics)
        if trial := self._trials.get(number):
            nonfinite |= trial.nonfinite
        data = {
            "number": number,
            "step": epoch,
            "metrics": values,
            "tags": _nonfinite_tag(nonfinite),
            "nonfinite": sorted(nonfinite),
        }
        names = ",".join(sorted(_name(name) for name in metrics))
        self._append("epoch", f"trial/{number}/epoch/{epoch}/{names}", data)

    def log_artifact(self, number: int | None, path: Path, folder: str = "") -> None:
        """Copy a file or a folder to a trial's run (None: the study's) when it is delivered.

        Raises:
            ValueError: if it is not in the search's folder. A journal is read from disk, and must
                not be able to name just any file for a server.
        """
        path = path.resolve()
        if not path.is_relative_to(self._folder):
            raise ValueError(f"`path` must lie in {self._folder}. Received: {path}.")
        path = path.relative_to(self._folder)
        data = {"number": number, "path": path.as_posix(), "folder": folder}
        self._append("artifact", f"artifact/{self._artifacts}", data)

    def end_trial(
        self,
        number: int,
        status: Status,
        metrics: Mapping[str, float],
        tags: Mapping[str, object],
    ) -> None:
        """End a trial's run; `metrics` stand at its last epoch."""
        self._end(number, f"trial/{number}/end", status, metrics, tags)

    def end_study(
        self, status: Status, metrics: Mapping[str, float], tags: Mapping[str, object]
    ) -> None:
        """End the parent run."""
        self._end(None, f"study/end/{self._sessions}", status, metrics, tags)

    def close(self, timeout_s: float) -> int:
        """Deliver for at most `timeout_s` and stop; return the number of events left over.

        What is left stays in the journal, and the next tracker on this folder delivers it.
        """
        left = self._courier.close(timeout_s)
        self._settings.close()
        return left

    def _end(
        self,
        number: int | None,
        key: str,
        status: Status,
        metrics: Mapping[str, float],
        tags: Mapping[str, object],
    ) -> None:
        # A study that is continued ends again; each session's metrics are a step of their own.
        trial = _Trial(max(0, self._sessions - 1))
        if number is not None:
            trial = self._trials.get(number, _Trial())
        values, nonfinite = _split(metrics)
        data = {
            "number": number,
            "status": status,
            "step": trial.last_epoch,
            "metrics": values,
            "tags": _texts(tags) | _nonfinite_tag(nonfinite | trial.nonfinite),
        }
        self._append("end", key, data, sync=True)

    def _open(self) -> None:
        first = self._wanted is None
        self._wanted = self._wanted or uuid.uuid4().hex
        key = "open" if first else f"{self._wanted}/open"
        self._write("open", key, {"study": self._wanted, "experiment": self._experiment})

    def _append(self, kind: str, key: str, data: dict[str, Any], *, sync: bool = False) -> None:
        if self.study is None or self.study != self._wanted:
            self._open()
        if self.study == self._wanted:
            self._write(kind, key, data, self._prefix, sync=sync)

    def _write(
        self, kind: str, key: str, data: dict[str, Any], prefix: str = "", *, sync: bool = False
    ) -> None:
        try:
            written = self._outbox.append(kind, prefix + key, data, sync=sync)
        except (OSError, RuntimeError) as problem:
            # A trial is worth more than its record: a full disk must not end the training.
            self._lost = f"lost {key}: {one_line(problem)}"
            return
        if written:
            self._remember(kind, prefix + key, data)
            self._courier.wake()

    def _remember(self, kind: str, key: str, data: Mapping[str, Any]) -> None:
        if kind == "open":
            known = self._studies | {data["study"]}
            self._begin()
            self.study = self._wanted = data["study"]
            self._studies = known
            self._prefix = key.removesuffix("open")
        elif kind == "study_start":
            self._sessions += 1
            self._running = True
        elif kind == "artifact":
            self._artifacts += 1
        elif kind == "trial_start":
            self._trials[data["number"]] = _Trial()
            self.started.add(data["number"])
        elif kind == "end" and data["number"] is None:
            self._running = False
        elif kind == "end":
            self._trials.pop(data["number"], None)
        elif kind == "epoch" and (trial := self._trials.get(data["number"])):
            trial.last_epoch = max(trial.last_epoch, data["step"])
            trial.nonfinite |= set(data["nonfinite"])


class NullTracker(Tracker):
    """Tracker that records nothing."""

    pending = 0
    error = None
    lost = None

    def __init__(self) -> None:
        self._store = self._experiment = ""
        self._begin()

    def log_artifact(self, number: int | None, path: Path, folder: str = "") -> None:
        """Do nothing."""

    def close(self, timeout_s: float) -> int:
        """Return 0."""
        return 0

    def _append(self, kind: str, key: str, data: dict[str, Any], *, sync: bool = False) -> None:
        pass


def last_store(folder: Path) -> str | None:
    """Return where the last session of a search sent its record: a URI without password.

    Returns:
        None for the database in the folder itself.

    Raises:
        ValueError: there is no record in `folder`, or the URI had a password.
    """
    if not (folder / JOURNAL).is_file():
        raise ValueError(f"There is no record of a search in `{folder}`: it has no {JOURNAL}.")
    store = None
    for event in read(folder):
        if event.kind == "study_start":
            store = event.data.get("store")
    if store is None or store == _OWN:
        return None
    if "***@" in store:
        raise ValueError(
            f"--tracking-uri: the search used {store}, and its password is not stored. Give the "
            "URI."
        )
    return str(store)


def _split(metrics: Mapping[str, float]) -> tuple[dict[str, float], set[str]]:
    """Separate finite metrics from the names of the others."""
    values = {_name(name): float(value) for name, value in metrics.items()}
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    return finite, values.keys() - finite.keys()


def _nonfinite_tag(names: set[str]) -> dict[str, str]:
    return {_NONFINITE: ", ".join(sorted(names))} if names else {}


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {_name(name): str(value)[:5000] for name, value in values.items()}


def _name(name: str) -> str:
    """Make a name that MLflow takes: it refuses others, and the whole event with them."""
    name = re.sub(r"[^\w./ -]", "_", name)[:250]
    if name != posixpath.normpath(name) or name.startswith(("/", ".")):
        name = name.replace("/", "_").lstrip(".")
    return name or "_"
