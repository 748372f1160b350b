"""The MLflow server for one search."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from pathlib import Path

import kerasloss_search
import pytest
from kerasloss_search import cli, ui
from kerasloss_search.tracking import Tracker, store_uri
from kerasloss_search.ui import serve

SEARCH = Path(kerasloss_search.__path__[0]).parent

# Modules of the standard library and others that MLflow and its server import.
TRAPS = ("attr", "click", "json", "mlflow", "pickle", "socket", "uvicorn")


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A folder in which a search has run."""
    folder = tmp_path_factory.mktemp("searched") / "my 100% search"
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow  # noqa: F401

        (folder / "plots").mkdir(parents=True)
        (folder / "plots" / "curve.txt").write_text("up and up")
        tracker = Tracker(folder, uri=None, experiment="bubbles")
        tracker.start_study({}, {})
        tracker.log_artifact(None, folder / "plots" / "curve.txt")
        assert tracker.close(60) == 0
    return folder


def get(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=20) as answer:
        return answer.read().decode()


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no mlflow\.db .* Run a search"):
        serve(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no database at all" * 100),
        lambda path: path.write_bytes(b""),
        lambda path: os.truncate(path, path.stat().st_size // 2),
    ],
    ids=["other content", "empty", "cut off"],
)
def test_a_damaged_database_is_refused(searched, tmp_path, damage, capsys, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    folder = tmp_path / "100% damaged"
    folder.mkdir()
    shutil.copy(searched / "mlflow.db", folder)
    damage(folder / "mlflow.db")
    for more in ([], ["--tracking-uri", store_uri(folder)]):
        assert cli.main(["ui", "--output", str(folder), *more]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "restore a copy of it" in error
        assert error.startswith(f"kerasloss-search: {folder / 'mlflow.db'}: expected a sound")


def test_a_port_that_is_taken_is_refused(searched, port):
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", port))
        owner.listen()
        with pytest.raises(ValueError, match=rf"Port {port} .* --port"):
            serve(searched, port=port)


def test_a_port_that_does_not_exist_is_refused(searched):
    with pytest.raises(ValueError, match="Port 70000 .* --port"):
        serve(searched, port=70000)


@pytest.mark.parametrize("uri", ["http://server:5000", "https://server", "databricks"])
def test_runs_on_a_server_need_no_second_one(tmp_path, uri):
    with pytest.raises(ValueError, match="on a server already"):
        serve(tmp_path, uri=uri)


def test_a_server_that_fails_tells_why(searched, port, monkeypatch, capfd, tmp_path):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho the database is out of date\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setattr(ui.sys, "executable", str(fake))
    assert serve(searched, port=port) == 3
    output, problem = capfd.readouterr()
    assert "http://" not in output
    assert "status 3" in problem
    assert "the database is out of date" in problem


SERVE = """
import sys
from pathlib import Path
from kerasloss_search.ui import serve
sys.exit(serve(Path(sys.argv[1]), port=int(sys.argv[2])))
"""


def started(folder, port, scratch):
    """Run `serve` in a process of its own, in a session of its own as under a terminal.

    The current folder holds files that nobody named.
    """
    # A file of its own, since `python -c` looks for modules in the current folder itself.
    for name in ("script", "here"):
        (scratch / name).mkdir()
    (scratch / "script" / "serving.py").write_text(SERVE)
    for name in TRAPS:
        (scratch / "here" / f"{name}.py").write_text(f"open('{name} was executed', 'w')\n")
    return subprocess.Popen(
        [sys.executable, str(scratch / "script" / "serving.py"), str(folder), str(port)],
        cwd=scratch / "here",
        env=os.environ | {"PYTHONPATH": str(SEARCH)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def assert_nothing_left(process):
    """Check that no process of the server's session is alive a moment later."""
    for _ in range(100):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    pytest.fail("a process of the server is still running")


@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
def test_it_shows_runs_and_takes_new_ones_until_ctrl_c(searched, port, tmp_path):
    address = f"http://127.0.0.1:{port}"
    early = Tracker(tmp_path / "remote", uri=address, experiment="over http")
    early.start_study({"score": "dice"}, {})
    early.start_trial(0, {"lr": 0.1}, {"loss": "iou"})
    for epoch in range(3):
        early.log_epoch(0, epoch, {"dice": epoch / 4})
    (tmp_path / "remote" / "curve.txt").write_text("up and up")
    early.log_artifact(0, tmp_path / "remote" / "curve.txt")
    early.end_trial(0, "FINISHED", {}, {})
    process = started(searched, port, tmp_path)
    try:
        line = process.stdout.readline()
        page = f"{address}/#/experiments/1/runs"
        assert line == f"Starting the MLflow server ... open {page} (Ctrl-C ends it)\n"
        assert "<title>MLflow</title>" in get(address)
        # Nobody else: a server on all addresses would answer at this one, too.
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.2", port)) == errno.ECONNREFUSED
        api = f"{address}/api/2.0/mlflow"
        assert "bubbles" in get(f"{api}/experiments/search?max_results=9")
        run_id = artifact_of(searched, store_uri(searched), "bubbles")
        assert "curve.txt" in get(f"{api}/artifacts/list?run_id={run_id}")
        assert get(f"{address}/get-artifact?path=curve.txt&run_id={run_id}") == "up and up"

        assert early.close(60) == 0
        assert early.error is None
        run_id = artifact_of(searched, address, "over http")
        assert get(f"{address}/get-artifact?path=curve.txt&run_id={run_id}") == "up and up"
        history = json.loads(get(f"{api}/metrics/get-history?run_id={run_id}&metric_key=dice"))
        assert [point["value"] for point in history["metrics"]] == [0.0, 0.25, 0.5]
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert rest.strip() == ""
    assert_nothing_left(process)
    assert sorted(path.stem for path in (tmp_path / "here").iterdir()) == sorted(TRAPS)


def artifact_of(folder, uri, experiment):
    """Return the run of `experiment` that has an artifact, after a look at the disk."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    run_ids = {run.info.run_id for run in runs}
    (found,) = run_ids & {path.parent.name for path in folder.glob("mlartifacts/**/artifacts")}
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
def test_sigterm_while_it_starts_leaves_nothing_behind(searched, port, tmp_path):
    process = started(searched, port, tmp_path)
    assert process.stdout.read(8) == "Starting"
    time.sleep(1)
    process.terminate()
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in rest
    assert_nothing_left(process)
