"""The journal's way into MLflow; the only module that imports mlflow."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from kerasloss_search.outbox import Event, Unavailable, Undeliverable, one_line
from kerasloss_search.tracking.stores import DATABASES, artifact_uri, quoted

__all__ = ["Delivery", "settings"]

_KINDS = frozenset({"open", "study_start", "trial_start", "epoch", "artifact", "end"})

# What MLflow answers when an experiment or a run was deleted, or can never take what it is given.
_FINAL = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})


class Delivery:
    """Turns events into MLflow calls that may be repeated without a second effect."""

    def __init__(self, uri: str, folder: Path, state: dict[str, Any]) -> None:
        self._uri = uri
        self._folder = folder
        self._state = state
        self._client: Any = None
        self._entities: Any = None

    def __call__(self, event: Event, in_doubt: bool) -> None:
        if event.kind not in _KINDS:  # the journal is a file, and anything may stand in it
            raise Undeliverable(f"there are no events of the kind {event.kind!r}")
        try:
            self._connect()
            getattr(self, f"_{event.kind}")(event, in_doubt)
        except Exception as problem:
            code = getattr(problem, "error_code", None)
            if code in _FINAL:
                raise Undeliverable(str(problem)) from problem
            # BAD_REQUEST also covers database errors that come back every time: patience ends.
            if code is not None and code != "BAD_REQUEST":
                raise Unavailable(str(problem)) from problem
            raise

    def _connect(self) -> None:
        if self._client is not None:
            return
        try:
            with warnings.catch_warnings():
                # MLflow uses what SQLAlchemy has deprecated; nobody here can change that.
                warnings.simplefilter("ignore")
                import mlflow
                import mlflow.entities

                _quieten()
                self._entities = mlflow.entities
                _create_database(self._uri, mlflow.MlflowClient)
                self._client = mlflow.MlflowClient(self._uri)
        except Exception as problem:
            raise Unavailable(one_line(problem)) from problem

    def _open(self, event: Event, in_doubt: bool) -> None:
        study, wanted = event.data["study"], event.data["experiment"]
        # `found`: runs that were there already, so any of their events may have been sent before.
        self._state.clear()
        self._state.update(study=study, runs={}, found=[])
        location = None
        if urlsplit(self._uri).scheme.split("+")[0] in DATABASES:
            # Without a location MLflow takes `mlruns` in whatever the working directory is.
            location = artifact_uri(self._folder)
        for name in (wanted, f"{wanted} {study[:8]}"):  # a deleted experiment keeps its name
            experiment = self._client.get_experiment_by_name(name)
            if experiment is None:
                self._state["experiment"] = self._client.create_experiment(name, location)
                return
            if experiment.lifecycle_stage == "active":
                self._state["experiment"] = experiment.experiment_id
                return
        raise Undeliverable(f"experiment {wanted!r} is deleted")

    def _study_start(self, event: Event, in_doubt: bool) -> None:
        run_id = self._state["runs"].get("study")
        if run_id is None:
            run_id = self._create("study", "study", event, {})
        else:
            self._client.update_run(run_id, status="RUNNING")
        params, tags = event.data["params"], dict(event.data["tags"])
        known = self._client.get_run(run_id).data.params
        tags |= {f"resumed.{k}": v for k, v in params.items() if known.get(k, v) != v}
        self._batch(run_id, params={k: v for k, v in params.items() if k not in known}, tags=tags)

    def _trial_start(self, event: Event, in_doubt: bool) -> None:
        number, tags = event.data["number"], event.data["tags"]
        title = tags.get("loss") or tags.get("loss_family") or ""
        parent = self._state["runs"].get("study")
        links = {"mlflow.parentRunId": parent} if parent else {}
        run_id = self._create(str(number), f"trial {number:03d} {title}".strip(), event, links)
        self._batch(run_id, params=event.data["params"])

    def _epoch(self, event: Event, in_doubt: bool) -> None:
        self._values(self._run(event.data["number"]), event, in_doubt)

    def _artifact(self, event: Event, in_doubt: bool) -> None:
        run_id = self._run(event.data["number"])
        path = (self._folder / event.data["path"]).resolve()
        if not path.is_relative_to(self._folder.resolve()):
            raise Undeliverable(f"{event.data['path']} lies outside of the search's folder")
        if not path.exists():
            raise Undeliverable(f"{path.name} is missing")
        try:
            self._client.log_artifact(run_id, str(path), event.data["folder"] or None)
        except PermissionError as problem:
            # A server without an artifact service names a folder of its own machine.
            raise Undeliverable(one_line(problem)) from problem

    def _end(self, event: Event, in_doubt: bool) -> None:
        number = event.data["number"]
        run_id = self._run(number)
        self._values(run_id, event, in_doubt)
        self._client.set_terminated(run_id, event.data["status"], event.time_ms)
        if number is not None:
            # Saved after every event, the state must not grow with the number of trials.
            del self._state["runs"][str(number)]
            self._state["found"] = [one for one in self._state["found"] if one != run_id]

    def _run(self, number: int | None) -> str:
        name = "study" if number is None else str(number)
        if name not in self._state["runs"] and self._existing(name) is None:
            raise Undeliverable(f"no run was started for {name}")
        return str(self._state["runs"][name])

    def _create(self, name: str, title: str, event: Event, links: Mapping[str, str]) -> str:
        """Return the id of the run `name`: the one that exists, else a new one."""
        # Creating a run and recording its id are two steps. The process may die between them, or
        # the server's answer get lost.
        run_id = self._existing(name)
        if run_id is None:
            tags = {**event.data["tags"], **links, "kerasloss.key": self._key(name)}
            run = self._client.create_run(self._state["experiment"], event.time_ms, tags, title)
            run_id = self._state["runs"][name] = str(run.info.run_id)
        return run_id

    def _existing(self, name: str) -> str | None:
        """The id of the run `name`, remembered from now on. A run that the user has deleted is
        found too, and left so.
        """
        if "experiment" not in self._state:
            raise Undeliverable("there is no experiment")
        runs = self._client.search_runs(
            [self._state["experiment"]],
            f"tags.`kerasloss.key` = '{self._key(name)}'",
            run_view_type=self._entities.ViewType.ALL,
            max_results=1,
        )
        if not runs:
            return None
        run_id = self._state["runs"][name] = str(runs[0].info.run_id)
        self._state["found"].append(run_id)
        return run_id

    def _key(self, name: str) -> str:
        return f"{self._state['study']}/{name}"

    def _values(self, run_id: str, event: Event, in_doubt: bool) -> None:
        step, metrics = event.data["step"], event.data["metrics"]
        if in_doubt or run_id in self._state["found"]:
            there = {
                name
                for name in metrics
                for point in self._client.get_metric_history(run_id, name)
                if (point.step, point.timestamp) == (step, event.time_ms)
            }
            metrics = {name: value for name, value in metrics.items() if name not in there}
        points = [
            self._entities.Metric(name, value, event.time_ms, step)
            for name, value in metrics.items()
        ]
        self._batch(run_id, metrics=points, tags=event.data["tags"])

    def _batch(
        self,
        run_id: str,
        *,
        metrics: Iterable[Any] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._client.log_batch(
            run_id,
            metrics=list(metrics),
            params=[self._entities.Param(k, v) for k, v in (params or {}).items()],
            tags=[self._entities.RunTag(k, v) for k, v in (tags or {}).items()],
            synchronous=True,
        )


def _create_database(uri: str, client: Callable[[str], Any]) -> None:
    """Make the SQLite database of `uri` if there is none, complete or not at all."""
    path = Path(unquote(uri.partition(":///")[2].partition("?")[0]))
    if not uri.startswith("sqlite") or path.exists():
        return
    # MLflow can neither open nor complete a database whose creation was killed half-way.
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".new")
    for leftover in (scratch, Path(f"{scratch}-journal")):
        leftover.unlink(missing_ok=True)
    store = client(f"sqlite:///{quoted(scratch)}")
    with suppress(AttributeError):  # not part of MLflow's interface; Windows moves no open file
        store._tracking_client.store.engine.dispose()
    os.replace(scratch, path)


@contextmanager
def settings() -> Iterator[None]:
    """Change MLflow's process-wide settings while a tracker is open, then put them back."""
    wanted = {
        # A request that MLflow repeats by itself could create a run twice.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        # Longer than the 20 s that a server waits for its own locked SQLite database.
        "MLFLOW_HTTP_REQUEST_TIMEOUT": os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"),
        "MLFLOW_DISABLE_TELEMETRY": os.environ.get("MLFLOW_DISABLE_TELEMETRY", "true"),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _quieten() -> None:
    """Keep MLflow off the terminal; what goes wrong is told by `Tracker.error`."""
    if "MLFLOW_LOGGING_LEVEL" not in os.environ:
        for name in ("mlflow", "alembic", "urllib3.connectionpool"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
