"""What a search writes to MLflow; the only module that imports mlflow."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import posixpath
import re
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from kerasloss_search.outbox import (
    Courier,
    Event,
    Outbox,
    Unavailable,
    Undeliverable,
    one_line,
    without_password,
)

Status = Literal["FINISHED", "KILLED", "FAILED"]

_DATABASES = frozenset({"sqlite", "postgresql", "mysql", "mssql"})
# What MLflow answers when an experiment or a run was deleted, or can never take what it is given.
_FINAL = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
_NONFINITE = "kerasloss.nonfinite"


def store_uri(folder: Path) -> str:
    """Return the URI of the MLflow database that a search keeps in `folder`."""
    return f"sqlite:///{_quoted(folder.resolve() / 'mlflow.db')}"


def artifact_uri(folder: Path) -> str:
    """Return the URI of the folder where that database's artifacts lie."""
    return (folder.resolve() / "mlartifacts").as_uri()


def checked_uri(uri: str) -> str:
    """Return `uri` with an absolute path if MLflow can write to it, else raise ValueError."""
    scheme, _, rest = uri.partition("://")
    kind = scheme.split("+")[0].lower()
    if uri == "databricks" or (kind == "databricks" and rest):
        return uri
    if kind == "sqlite" and rest.startswith("/") and rest not in {"/", "/:memory:"}:
        path = rest[1:]
        return uri if Path(path).is_absolute() else f"{scheme}:///{_quoted(Path.cwd())}/{path}"
    if kind in {"http", "https", *_DATABASES} - {"sqlite"} and urlsplit(uri).hostname:
        return uri
    raise ValueError(
        "The tracking URI must be sqlite:///<file>, http(s)://<server>, databricks, "
        "databricks://<profile>, or a postgresql://, mysql:// or mssql:// database. A plain "
        f"folder or a file:// store is not possible: MLflow 3 writes to none. Received: "
        f"{without_password(uri)!r}."
    )


def _quoted(path: Path) -> str:
    """Write a path so that SQLAlchemy reads it back: it takes %xx and what follows ? apart."""
    return path.as_posix().replace("%", "%25").replace("?", "%3F")


@dataclass
class _Trial:
    """What has to be known about a trial while it runs."""

    last_epoch: int = 0
    nonfinite: set[str] = field(default_factory=set)


class Tracker:
    """Record of a study: a parent run with one child run a trial.

    Every method writes to a journal in `folder` and returns; a background thread delivers the
    journal to MLflow. A tracker on a folder that has a journal continues where delivery stopped
    and takes part in the same study. Calls that the journal already holds change nothing.

    Args:
        folder: The search's folder.
        uri: MLflow tracking URI; None for `mlflow.db` and `mlartifacts` in `folder`.
        experiment: Name of the MLflow experiment; used when the study is new.
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
        self._outbox = Outbox(self._folder, store="own" if uri == own else uri)
        self._lost: str | None = None
        self._sessions = 0
        self._artifacts = 0
        self._trials: dict[int, _Trial] = {}
        for event in self._outbox.events():
            self._remember(event.kind, event.data)
        self._settings = ExitStack()
        self._settings.enter_context(_settings())
        self._courier = Courier(self._outbox, _Delivery(uri, self._folder, self._outbox.state))
        self._append("open", "open", {"study": uuid.uuid4().hex, "experiment": experiment})

    @property
    def pending(self) -> int:
        """Number of events that MLflow does not have yet."""
        return self._outbox.pending

    @property
    def error(self) -> str | None:
        """The last problem with writing or delivering as one line, or None."""
        return self._lost or self._courier.error

    def open_trials(self) -> list[int]:
        """Return the trials that were started and not ended, in this process or before it."""
        return sorted(self._trials)

    def start_study(self, params: Mapping[str, object], tags: Mapping[str, object]) -> None:
        """Start the parent run, or set it to running again in a later session.

        A parameter that changed since the first session is kept there and tagged
        `resumed.<name>`, because MLflow writes parameters once.
        """
        data = {"params": _texts(params), "tags": _texts(tags)}
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
        """Copy a file or a folder to a trial's run (None: the study's) when it is delivered."""
        path = path.absolute()
        if path.is_relative_to(self._folder):
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

    def _append(self, kind: str, key: str, data: dict[str, Any], *, sync: bool = False) -> None:
        try:
            written = self._outbox.append(kind, key, data, sync=sync)
        except (OSError, RuntimeError) as problem:
            # A trial is worth more than its record: a full disk must not end the training.
            self._lost = f"lost {key}: {one_line(problem)}"
            return
        if written:
            self._remember(kind, data)
            self._courier.wake()

    def _remember(self, kind: str, data: Mapping[str, Any]) -> None:
        if kind == "study_start":
            self._sessions += 1
        elif kind == "artifact":
            self._artifacts += 1
        elif kind == "trial_start":
            self._trials[data["number"]] = _Trial()
        elif kind == "end":
            self._trials.pop(data["number"], None)
        elif kind == "epoch" and (trial := self._trials.get(data["number"])):
            trial.last_epoch = max(trial.last_epoch, data["step"])
            trial.nonfinite |= set(data["nonfinite"])


class NullTracker(Tracker):
    """Tracker that records nothing."""

    pending = 0
    error = None

    def __init__(self) -> None:
        self._sessions = self._artifacts = 0
        self._folder = Path()
        self._trials = {}

    def close(self, timeout_s: float) -> int:
        """Return 0."""
        return 0

    def _append(self, kind: str, key: str, data: dict[str, Any], *, sync: bool = False) -> None:
        pass


class _Delivery:
    """Turns events into MLflow calls that may be repeated without a second effect."""

    def __init__(self, uri: str, folder: Path, state: dict[str, Any]) -> None:
        self._uri = uri
        self._folder = folder
        self._state = state
        self._client: Any = None
        self._entities: Any = None

    def __call__(self, event: Event, in_doubt: bool) -> None:
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
        if urlsplit(self._uri).scheme.split("+")[0] in _DATABASES:
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
        path = self._folder / event.data["path"]
        if not path.exists():
            raise Undeliverable(f"{path.name} is missing")
        try:
            self._client.log_artifact(run_id, str(path), event.data["folder"] or None)
        except PermissionError as problem:
            # A server without an artifact service names a folder of its own machine.
            raise Undeliverable(one_line(problem)) from problem

    def _end(self, event: Event, in_doubt: bool) -> None:
        run_id = self._run(event.data["number"])
        self._values(run_id, event, in_doubt)
        self._client.set_terminated(run_id, event.data["status"], event.time_ms)

    def _run(self, number: int | None) -> str:
        name = "study" if number is None else str(number)
        try:
            return str(self._state["runs"][name])
        except KeyError:
            raise Undeliverable(f"no run was started for {name}") from None

    def _create(self, name: str, title: str, event: Event, links: Mapping[str, str]) -> str:
        """Return the id of the run `name`: the one that exists, else a new one."""
        if "experiment" not in self._state:
            raise Undeliverable("there is no experiment")
        experiment = self._state["experiment"]
        key = f"{self._state['study']}/{name}"
        # Creating a run and recording its id are two steps. The process may die between them, or
        # the server's answer get lost. A run that the user has deleted is found too, and left so.
        runs = self._client.search_runs(
            [experiment],
            f"tags.`kerasloss.key` = '{key}'",
            run_view_type=self._entities.ViewType.ALL,
            max_results=1,
        )
        if runs:
            run_id = str(runs[0].info.run_id)
            self._state["found"].append(run_id)
        else:
            tags = {**event.data["tags"], **links, "kerasloss.key": key}
            run = self._client.create_run(experiment, event.time_ms, tags, title)
            run_id = str(run.info.run_id)
        self._state["runs"][name] = run_id
        return run_id

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
    store = client(f"sqlite:///{_quoted(scratch)}")
    with suppress(AttributeError):  # not part of MLflow's interface; Windows moves no open file
        store._tracking_client.store.engine.dispose()
    os.replace(scratch, path)


@contextmanager
def _settings() -> Iterator[None]:
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
