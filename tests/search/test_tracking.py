"""What arrives in MLflow, and that training never notices when nothing does.

Run as a script, this file is the victim of the kill -9 tests: one process that has imported
MLflow and forks a driver a line of its input, because the import costs seconds.
"""

import inspect
import itertools
import json
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import kerasloss_search
import pytest
from kerasloss_search import tracking
from kerasloss_search.tracking import NullTracker, Tracker, checked_uri, store_uri

SEARCH = Path(kerasloss_search.__path__[0]).parent
TRIALS, EPOCHS = 3, 4


def play(tracker, folder):
    """Do everything a driver does for a study of three trials."""
    tracker.start_study({"trials": TRIALS, "score": "dice"}, {"data": "toy"})
    for number in range(TRIALS):
        tracker.start_trial(number, {"lr": 0.1 * number, "focal": True}, {"loss": "dice+ce"})
        for epoch in range(EPOCHS):
            tracker.log_epoch(number, epoch, {"loss": 1 / (epoch + 1), "dice": number + epoch / 8})
        model = folder / f"model-{number}.keras"
        model.write_text(f"weights {number}")
        tracker.log_artifact(number, model, "models")
        tracker.end_trial(number, "FINISHED", {"score": 0.5 + number}, {"state": "COMPLETE"})
    tracker.end_study("FINISHED", {"best": 2.5}, {"winner": 2})


def assert_played(folder, uri=None):
    """Check that MLflow holds that study, everything of it once."""
    client = client_of(uri or store_uri(folder))
    runs = runs_of(client)
    assert sorted(runs) == ["study", "trial 000 dice+ce", "trial 001 dice+ce", "trial 002 dice+ce"]
    study = runs.pop("study")
    assert study.data.params == {"trials": "3", "score": "dice"}
    assert study.data.metrics == {"best": 2.5}
    assert study.data.tags["data"] == "toy"
    assert study.data.tags["winner"] == "2"
    assert study.info.status == "FINISHED"
    for number, (_, run) in enumerate(sorted(runs.items())):
        assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
        assert run.data.tags["loss"] == "dice+ce"
        assert run.data.tags["state"] == "COMPLETE"
        assert run.data.params == {"lr": str(0.1 * number), "focal": "True"}
        assert run.info.status == "FINISHED"
        assert run.info.start_time < run.info.end_time
        assert points(client, run, "loss") == [(e, 1 / (e + 1)) for e in range(EPOCHS)]
        assert points(client, run, "dice") == [(e, number + e / 8) for e in range(EPOCHS)]
        assert points(client, run, "score") == [(EPOCHS - 1, 0.5 + number)]
        (artifact,) = client.list_artifacts(run.info.run_id, "models")
        assert artifact.path == f"models/model-{number}.keras"


def client_of(uri):
    from mlflow import MlflowClient

    return MlflowClient(uri)


def runs_of(client, experiment="toy"):
    """Return the runs of an experiment by name, and fail when a name comes twice."""
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    names = [run.info.run_name for run in runs]
    assert len(names) == len(set(names))
    return dict(zip(names, runs, strict=True))


def points(client, run, metric):
    history = client.get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in history]


def rows(folder, table="metrics", what="*"):
    database = sqlite3.connect(folder / "mlflow.db")
    (count,) = database.execute(f"SELECT COUNT({what}) FROM {table}").fetchone()
    database.close()
    return count


def new(folder, uri=None):
    return Tracker(folder, uri=uri, experiment="toy")


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """An empty MLflow database: making one takes seconds, copying it does not."""
    folder = tmp_path_factory.mktemp("template")
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        client_of(store_uri(folder))
    return folder / "mlflow.db"


@pytest.fixture
def folder(template, tmp_path):
    folder = tmp_path / "my search"
    folder.mkdir()
    shutil.copy(template, folder)
    return folder


@pytest.fixture
def dead_uri():
    """A server that is away: nothing listens on this port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_study_becomes_nested_runs(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = new(folder)
    play(tracker, folder)
    assert tracker.close(60) == 0
    assert tracker.error is None
    assert tracker.pending == 0
    assert_played(folder)
    assert sorted(file.read_text() for file in folder.glob("mlartifacts/*/*/models/*.keras")) == [
        "weights 0",
        "weights 1",
        "weights 2",
    ]
    assert list(tmp_path.iterdir()) == [folder]  # no `mlruns` where the process happens to be


@pytest.mark.parametrize("name", ["a%20b ü", "what? #1"])
def test_the_folder_may_have_any_name(template, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    shutil.copy(template, folder)
    tracker = new(folder)
    tracker.start_study({}, {})
    (folder / "a.txt").write_text("a")
    tracker.log_artifact(None, folder / "a.txt")
    assert tracker.close(60) == 0
    assert tracker.error is None
    assert rows(folder, "runs") == 1
    assert len(list(folder.glob("mlartifacts/**/a.txt"))) == 1


def test_a_number_that_is_not_finite_is_named_and_left_out(folder):
    tracker = new(folder)
    tracker.start_trial(0, {}, {})
    tracker.log_epoch(0, 0, {"loss": 1.0, "dice": float("nan")})
    tracker.log_epoch(0, 1, {"loss": float("inf"), "dice": float("nan")})
    tracker.log_epoch(0, 2, {"loss": 2.0, "dice": 0.5})
    tracker.end_trial(0, "FAILED", {"score": float("-inf")}, {})
    assert tracker.close(60) == 0
    client = client_of(store_uri(folder))
    run = runs_of(client)["trial 000"]
    assert points(client, run, "loss") == [(0, 1.0), (2, 2.0)]
    assert points(client, run, "dice") == [(2, 0.5)]
    assert "score" not in run.data.metrics
    assert run.data.tags["kerasloss.nonfinite"] == "dice, loss, score"


@pytest.mark.parametrize("status", ["FINISHED", "KILLED", "FAILED"])
def test_a_run_ends_as_it_is_told(folder, status):
    tracker = new(folder)
    tracker.start_study({}, {})
    tracker.start_trial(7, {}, {"loss_family": "focal"})
    tracker.end_trial(7, status, {}, {})
    tracker.end_study(status, {}, {})
    assert tracker.close(60) == 0
    runs = runs_of(client_of(store_uri(folder)))
    assert {name: run.info.status for name, run in runs.items()} == {
        "study": status,
        "trial 007 focal": status,
    }


def test_artifacts_are_files_and_folders_and_may_be_missing(folder, tmp_path, monkeypatch):
    (folder / "plots").mkdir()
    (folder / "plots" / "curve.svg").write_text("<svg/>")
    (tmp_path / "outside.csv").write_text("1")
    monkeypatch.chdir(tmp_path)
    tracker = new(folder)
    tracker.start_study({}, {})
    tracker.log_artifact(None, folder / "plots")
    tracker.log_artifact(None, folder / "gone.txt")
    tracker.log_artifact(None, Path("outside.csv"), "tables/raw")
    tracker.log_artifact(3, folder / "plots")
    assert tracker.close(60) == 0
    (run,) = folder.glob("mlartifacts/*/artifacts")
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert files == {"plots/curve.svg", "tables/raw/outside.csv"}
    notes = (folder / "outbox.skipped.jsonl").read_text().splitlines()
    assert [json.loads(note)["reason"] for note in notes] == [
        "gone.txt is missing",
        "no run was started for 3",
    ]
    assert tracker.error == "skipped artifact/3: no run was started for 3"


def test_names_and_texts_that_mlflow_refuses_are_changed(folder):
    tracker = new(folder)
    tracker.start_study({"a=b": "x" * 9000, "..": 1}, {"t" * 300: "y" * 9000, "/c//d": 2})
    tracker.start_trial(0, {}, {})
    tracker.log_epoch(0, 0, {"val dice@0.5": 1.0, "weight/dice": 2.0, "a/../b": 3.0, "": 4.0})
    assert tracker.close(60) == 0
    assert tracker.error is None
    runs = runs_of(client_of(store_uri(folder)))
    assert runs["study"].data.params == {"a_b": "x" * 5000, "_": "1"}
    assert runs["study"].data.tags["t" * 250] == "y" * 5000
    assert runs["study"].data.tags["_c__d"] == "2"
    assert runs["trial 000"].data.metrics == {
        "val dice_0.5": 1.0,
        "weight/dice": 2.0,
        "a_.._b": 3.0,
        "_": 4.0,
    }


def test_a_server_that_is_away_costs_no_time_and_no_data(folder, dead_uri):
    tracker = new(folder, dead_uri)
    start = time.perf_counter()
    play(tracker, folder)
    assert time.perf_counter() - start < 1
    events = 1 + 2 + TRIALS * (3 + EPOCHS)
    assert tracker.pending == events
    wait_until(lambda: tracker.error is not None)
    assert "127.0.0.1" in tracker.error
    assert "\n" not in tracker.error
    start = time.perf_counter()
    assert tracker.close(0.1) == events
    assert time.perf_counter() - start < 1
    tracker = new(folder)
    assert tracker.pending == events
    assert tracker.close(60) == 0
    assert_played(folder)


def test_a_search_may_move_between_stores(folder, template, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(template, other)
    tracker = new(folder)
    play(tracker, folder)
    assert tracker.close(60) == 0
    tracker = new(folder, store_uri(other))
    tracker.start_trial(9, {}, {"loss": "last"})
    assert tracker.close(60) == 0
    assert rows(other, "runs") == 5
    assert rows(folder, "runs") == 4
    tracker = new(folder)
    assert tracker.pending == 1
    assert tracker.close(60) == 0
    assert rows(folder, "runs") == 5
    assert rows(other) == rows(folder) == TRIALS * (2 * EPOCHS + 1) + 1


def test_a_second_session_continues_the_study(folder):
    tracker = new(folder)
    tracker.start_study({"trials": 2, "score": "dice"}, {})
    tracker.start_trial(0, {}, {})
    tracker.end_trial(0, "FINISHED", {}, {})
    tracker.start_trial(1, {}, {"loss": "iou"})
    tracker.log_epoch(1, 5, {"loss": 1.0, "dice": float("nan")})
    tracker.end_study("KILLED", {"best": 0.5}, {})
    assert tracker.close(60) == 0
    tracker = Tracker(folder, uri=None, experiment="another name")
    assert tracker.open_trials() == [1]
    tracker.start_study({"trials": 4, "seed": 3}, {"sessions": 2})
    tracker.end_trial(1, "KILLED", {"score": 0.5}, {"reason": "session ended"})
    assert tracker.open_trials() == []
    tracker.start_trial(2, {}, {})
    assert tracker.open_trials() == [2]
    assert tracker.close(60) == 0
    client = client_of(store_uri(folder))
    assert client.get_experiment_by_name("another name") is None
    runs = runs_of(client)
    assert sorted(runs) == ["study", "trial 000", "trial 001 iou", "trial 002"]
    assert runs["study"].info.status == "RUNNING"
    assert points(client, runs["study"], "best") == [(0, 0.5)]
    assert runs["study"].data.params == {"trials": "2", "score": "dice", "seed": "3"}
    assert runs["study"].data.tags["resumed.trials"] == "4"
    assert runs["trial 001 iou"].info.status == "KILLED"
    assert runs["trial 001 iou"].data.tags["reason"] == "session ended"
    assert runs["trial 001 iou"].data.tags["kerasloss.nonfinite"] == "dice"
    assert points(client, runs["trial 001 iou"], "score") == [(5, 0.5)]


def test_calls_that_are_repeated_change_nothing(folder):
    tracker = new(folder)
    play(tracker, folder)
    for number in range(TRIALS):
        tracker.start_trial(number, {"lr": 99}, {"loss": "other"})
        tracker.log_epoch(number, 0, {"loss": 77.0, "dice": 77.0})
        tracker.end_trial(number, "KILLED", {}, {})
    assert tracker.close(60) == 0
    assert_played(folder)


def test_a_lost_position_doubles_nothing(folder):
    tracker = new(folder)
    play(tracker, folder)
    assert tracker.close(60) == 0
    before = rows(folder), rows(folder, "runs")
    (folder / "outbox.position").unlink()
    tracker = new(folder)
    assert tracker.pending > 0
    assert tracker.close(60) == 0
    assert (rows(folder), rows(folder, "runs")) == before
    assert_played(folder)


@pytest.mark.parametrize("method", ["create_experiment", "create_run", "log_batch"])
def test_an_answer_that_is_lost_doubles_nothing(folder, monkeypatch, method):
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    real, calls = getattr(MlflowClient, method), itertools.count(1)

    def forgetful(*arguments, **options):
        result = real(*arguments, **options)
        if next(calls) in {1, 5}:
            raise MlflowException("API request failed with exception: connection reset")
        return result

    monkeypatch.setattr(MlflowClient, method, forgetful)
    tracker = new(folder)
    tracker._courier._first_delay_s = 0.01
    play(tracker, folder)
    assert tracker.close(60) == 0
    assert next(calls) > 1
    assert_played(folder)


def test_points_that_arrived_are_not_sent_again(folder, monkeypatch):
    """A store without unique keys would keep both, so the history is asked first."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    real, sent = MlflowClient.log_batch, []

    def half(client, run_id, metrics=(), **options):
        if metrics:
            sent.append([metric.key for metric in metrics])
            if len(sent) == 1:
                real(client, run_id, metrics=metrics[:1], synchronous=True)
                raise MlflowException("connection reset")
        return real(client, run_id, metrics=metrics, **options)

    monkeypatch.setattr(MlflowClient, "log_batch", half)
    tracker = new(folder)
    tracker.start_trial(0, {}, {})
    tracker.log_epoch(0, 0, {"a": 1.0, "b": 2.0})
    tracker.log_epoch(0, 1, {"a": 1.0, "b": 2.0})
    assert tracker.close(60) == 0
    assert sent == [["a", "b"], ["b"], ["a", "b"]]


def test_an_artifact_folder_of_another_machine_is_noted(folder, monkeypatch):
    from mlflow import MlflowClient

    def closed(*arguments):
        raise PermissionError(13, "Permission denied", "/mlartifacts")

    monkeypatch.setattr(MlflowClient, "log_artifact", closed)
    tracker = new(folder)
    tracker.start_study({}, {})
    (folder / "a.txt").write_text("a")
    tracker.log_artifact(None, folder / "a.txt")
    tracker.end_study("FINISHED", {}, {})
    assert tracker.close(60) == 0
    assert "Permission denied" in tracker.error
    assert runs_of(client_of(store_uri(folder)))["study"].info.status == "FINISHED"


def test_a_run_that_the_user_deleted_is_left_alone(folder):
    tracker = new(folder)
    tracker.start_study({}, {})
    tracker.start_trial(0, {}, {})
    wait_until(lambda: tracker.pending == 0)
    client = client_of(store_uri(folder))
    client.delete_run(runs_of(client)["trial 000"].info.run_id)
    tracker.log_epoch(0, 0, {"loss": 1.0})
    tracker.end_trial(0, "FINISHED", {"score": 1.0}, {})
    tracker.start_trial(1, {}, {})
    tracker.log_epoch(1, 0, {"loss": 1.0})
    assert tracker.close(60) == 0
    assert tracker.error.startswith("skipped trial/0/end: ")
    assert len((folder / "outbox.skipped.jsonl").read_text().splitlines()) == 2
    runs = runs_of(client)
    assert sorted(runs) == ["study", "trial 001"]
    assert runs["trial 001"].data.metrics == {"loss": 1.0}


def test_a_deleted_experiment_ends_the_record_and_nothing_else(folder):
    tracker = new(folder)
    tracker.start_study({}, {})
    wait_until(lambda: tracker.pending == 0)
    client = client_of(store_uri(folder))
    client.delete_experiment(client.get_experiment_by_name("toy").experiment_id)
    tracker.start_trial(0, {}, {})
    tracker.log_epoch(0, 0, {"loss": 1.0})
    tracker.end_trial(0, "FINISHED", {}, {})
    assert tracker.close(60) == 0
    notes = (folder / "outbox.skipped.jsonl").read_text().splitlines()
    assert [json.loads(note)["kind"] for note in notes] == ["trial_start", "epoch", "end"]
    assert rows(folder, "runs") == 1


def test_a_new_study_does_not_need_the_name_of_a_deleted_experiment(folder):
    client = client_of(store_uri(folder))
    client.delete_experiment(client.create_experiment("toy"))
    tracker = new(folder)
    tracker.start_study({}, {})
    assert tracker.close(60) == 0
    (name,) = (e.name for e in client.search_experiments() if e.name != "Default")
    assert name.startswith("toy ")
    assert list(runs_of(client, name)) == ["study"]


def test_two_studies_may_share_an_experiment(folder, tmp_path):
    for name in ("one", "two"):
        tracker = new(tmp_path / name, store_uri(folder))
        tracker.start_study({}, {"name": name})
        tracker.start_trial(0, {}, {"loss": name})
        assert tracker.close(60) == 0
    client = client_of(store_uri(folder))
    runs = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    assert sorted(run.info.run_name for run in runs) == [
        "study",
        "study",
        "trial 000 one",
        "trial 000 two",
    ]


def test_a_full_disk_is_told_and_does_not_raise(folder, monkeypatch):
    def full(fd, data):
        raise OSError(28, "No space left on device")

    tracker = new(folder)
    tracker.start_study({}, {})
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        tracker.start_trial(0, {}, {})
    assert tracker.error == "lost trial/0/start: OSError: [Errno 28] No space left on device"
    assert tracker.open_trials() == []
    assert tracker.close(60) == 0


def test_a_folder_belongs_to_one_tracker(folder):
    tracker = new(folder)
    with pytest.raises(RuntimeError, match="Another process"):
        new(folder)
    tracker.close(60)


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
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
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


@pytest.fixture(scope="module")
def victim():
    """The process described at the top: takes a folder and a moment, forks, and kills."""
    environment = os.environ | {"PYTHONPATH": str(SEARCH), "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def kill(folder, what, count=1, when="after"):
        request = {"folder": str(folder), "what": what, "count": count, "when": when}
        print(json.dumps(request), file=process.stdin, flush=True)
        return int(process.stdout.readline())

    yield kill
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("what", "count", "when"),
    [
        ("create_experiment", 1, "after"),
        ("create_run", 1, "after"),
        ("create_run", 3, "after"),
        ("log_batch", 4, "before"),
        ("log_batch", 4, "after"),
        ("log_artifact", 2, "after"),
        ("set_terminated", 2, "after"),
        ("replace", 6, "before"),
        ("replace", 6, "after"),
    ],
)
def test_kill_9_in_mid_delivery_doubles_nothing(folder, victim, what, count, when):
    assert victim(folder, what, count, when) == -signal.SIGKILL
    tracker = new(folder)
    assert tracker.close(60) == 0
    assert tracker.error is None
    assert_played(folder)
    assert rows(folder) == TRIALS * (2 * EPOCHS + 1) + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_while_the_database_is_made(tmp_path, victim):
    """MLflow alone can never use such a database again: its tables exist already."""
    folder = tmp_path / "100% new"
    assert victim(folder, "create_table", 20) == -signal.SIGKILL
    tracker = new(folder)
    assert tracker.close(60) == 0
    assert_played(folder)
    assert not list(folder.glob("mlflow.db.*"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("milliseconds", [50, 250])
def test_kill_9_at_any_time_and_again(folder, victim, milliseconds):
    """The driver dies twice while it works, and does everything again."""
    for _ in range(2):
        assert victim(folder, "timer", milliseconds) in {-signal.SIGKILL, 0}
    tracker = new(folder)
    play(tracker, folder)
    assert tracker.close(60) == 0
    assert_played(folder)
    assert rows(folder, what="DISTINCT run_uuid || key || step") == rows(folder)


def _be_killed(folder, what, count, when):
    """Play a study and die by SIGKILL at the given moment."""
    from alembic.ddl.impl import DefaultImpl
    from mlflow import MlflowClient

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def deadly(function):
        calls = itertools.count(1)

        def wrapper(*arguments, **options):
            last = next(calls) == count
            if last and when == "before":
                die()
            result = function(*arguments, **options)
            if last:
                die()
            return result

        return wrapper

    written = threading.Event()
    if what == "timer":
        threading.Timer(count / 1000, die).start()
        written.set()
    elif what == "replace":
        os.replace = deadly(os.replace)
    elif what == "create_table":
        DefaultImpl.create_table = deadly(DefaultImpl.create_table)
    else:
        setattr(MlflowClient, what, deadly(getattr(MlflowClient, what)))
    connect = tracking._Delivery._connect

    def connect_later(self):
        written.wait()
        connect(self)

    tracking._Delivery._connect = connect_later
    tracker = new(Path(folder))
    play(tracker, Path(folder))
    written.set()
    tracker.close(60)


if __name__ == "__main__":
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if not child:
            _be_killed(**json.loads(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
