"""Which stores a search can write to, and that it leaves the process as it was."""

import inspect
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kerasloss_search.tracking import NullTracker, Tracker, checked_uri, recorder
from tracking_study import (
    SEARCH,
    new,
    play,
    wait_until,
)


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////data/mlflow.db",
        "sqlite+pysqlite:////data/mlflow.db",
        "postgresql+psycopg://user:pass@host/runs",
        "mysql://host/runs",
        "http://localhost:5000",
        "https://server/mlflow",
        "databricks",
        "databricks://profile",
    ],
)
def test_uris_that_mlflow_can_write_to_are_kept(uri):
    assert checked_uri(uri) == uri


def test_a_relative_database_is_meant_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checked_uri("sqlite:///runs/a.db") == f"sqlite:///{tmp_path.as_posix()}/runs/a.db"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "mlruns",
        "./mlruns",
        "/data/mlruns",
        "file:///data/mlruns",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:mlflow.db",
        "http://",
        "localhost:5000",
        "databricks://",
        "databricks-uc",
        "ftp://server",
    ],
)
def test_other_uris_are_refused_at_once(tmp_path, uri):
    with pytest.raises(ValueError, match="sqlite:///<file>, http") as refusal:
        new(tmp_path / "search", uri)
    assert repr(uri) in str(refusal.value)
    assert not (tmp_path / "search").exists()


def test_a_refusal_does_not_show_the_password():
    with pytest.raises(ValueError) as refusal:
        checked_uri("postgres://user:secret@host/runs")
    assert "secret" not in str(refusal.value)


def test_an_experiment_needs_a_name(tmp_path):
    with pytest.raises(ValueError, match="`experiment`"):
        Tracker(tmp_path, uri=None, experiment=" ")


def test_without_mlflow_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "kerasloss\[search\]"'):
        new(tmp_path)


def test_importing_the_module_does_not_import_mlflow():
    script = "import sys, kerasloss_search.tracking; sys.exit('mlflow' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(SEARCH)}
    assert subprocess.run([sys.executable, "-c", script], env=environment).returncode == 0


def test_the_process_is_left_as_it_was(folder, capfd, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    root = logging.getLogger()
    before = dict(os.environ), root.level, list(root.handlers)
    tracker = new(folder)
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    play(tracker, folder)
    assert tracker.close(60) == 0
    assert (dict(os.environ), root.level, list(root.handlers)) == before
    assert capfd.readouterr() == ("", "")


def test_an_outage_does_not_chatter(folder, dead_uri, capfd):
    tracker = new(folder, dead_uri)
    tracker.start_study({}, {})
    wait_until(lambda: tracker.error is not None)
    tracker.close(0)
    assert capfd.readouterr() == ("", "")


def test_the_null_tracker_takes_every_call_and_leaves_no_trace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = NullTracker()
    tracker.start_study({}, {})
    tracker.start_trial(0, {"a": 1}, {})
    tracker.log_epoch(0, 0, {"loss": float("nan")})
    tracker.log_artifact(0, Path("model.keras"))
    tracker.end_trial(0, "KILLED", {}, {})
    tracker.end_study("FINISHED", {}, {})
    assert tracker.open_trials() == []
    assert (tracker.close(1.0), tracker.pending, tracker.error) == (0, 0, None)
    assert list(tmp_path.iterdir()) == []
    for name, member in inspect.getmembers(Tracker, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(NullTracker, name)) == inspect.signature(member)
