"""How MLflow's pages are shown for the runs of one search."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO

from kerasloss_search.outbox import JOURNAL
from kerasloss_search.spawning import SAFE_PATH
from kerasloss_search.stopping import sigterm_is_ctrl_c
from kerasloss_search.tracking import artifact_uri, checked_uri, last_store, store_uri

_HOST = "127.0.0.1"
_PATIENCE_S = 3.0


def serve(folder: Path, *, port: int = 5000, uri: str | None = None) -> int:
    """Run the MLflow server for a search until Ctrl-C, reachable from this machine only.

    Args:
        folder: The search's folder.
        port: Port on 127.0.0.1.
        uri: Database that the search wrote to; None for the one that it used last.

    Returns:
        The server's exit status; 0 after Ctrl-C.

    Raises:
        ValueError: There are no runs in `folder`, the port is taken, or the database is damaged or
            none.
    """
    if uri is None and (folder / JOURNAL).is_file():
        uri = last_store(folder)
    store = _store(folder, uri)
    _check_port(port)
    artifacts = artifact_uri(folder)
    command = [sys.executable, "-m", "mlflow", "server", "--host", _HOST, "--port", str(port)]
    command += ["--backend-store-uri", store, "--registry-store-uri", store]
    command += ["--default-artifact-root", artifacts, "--artifacts-destination", artifacts]
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": os.environ.get("MLFLOW_DISABLE_TELEMETRY", "true"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # would start helpers for language models
        **SAFE_PATH,
    }
    with (
        tempfile.TemporaryFile() as log,
        tempfile.TemporaryDirectory() as empty,
        sigterm_is_ctrl_c(),
    ):
        # The server's own option for where modules are: the current folder if it is not said.
        options = ["--log-level", "warning", "--app-dir", empty]
        command += ["--workers", "1", "--uvicorn-opts", shlex.join(options)]
        print("Starting the MLflow server ... ", end="", flush=True)
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            if _wait_until_ready(server, port):
                page = f"http://{_HOST}:{port}{_runs_page(folder) if uri is None else ''}"
                print(f"open {page} (Ctrl-C ends it)", flush=True)
            status = server.wait()
        except KeyboardInterrupt:
            _stop(server)
            print(flush=True)
            return 0
        if status:
            print(f"The MLflow server ended with status {status}:\n{_tail(log)}", file=sys.stderr)
        return status


def _store(folder: Path, uri: str | None) -> str:
    if uri is not None:
        uri = checked_uri(uri)
        if uri.startswith(("http", "databricks")):
            raise ValueError(f"The runs are on a server already; open {uri} in a browser.")
        if uri.startswith("sqlite"):
            path = urllib.parse.unquote(uri.partition(":///")[2].partition("?")[0])
            _check_database(Path(path))
        return uri
    if not (folder / "mlflow.db").is_file():
        raise ValueError(
            f"There is no mlflow.db in `{folder}`. Run a search with this folder first, or name "
            "the folder of one."
        )
    _check_database(folder / "mlflow.db")
    return store_uri(folder)


def _check_database(path: Path) -> None:
    """Whether MLflow's server would start on a database: it answers a damaged one by a traceback.

    One that is not there yet the server makes.
    """
    if not path.is_file():
        return
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            connection.execute("SELECT 1 FROM experiments").fetchone()
    except sqlite3.Error as problem:
        verdict = str(problem)
    if verdict != "ok":
        reason = " ".join(str(verdict).split())
        raise ValueError(
            f"{path}: expected a sound MLflow database, received one that cannot be used "
            f"({reason[:120]}); restore a copy of it"
        )


def _runs_page(folder: Path) -> str:
    """Where the runs are: MLflow opens on a page about language models otherwise."""
    question = (
        "SELECT experiment_id FROM experiments WHERE name != 'Default' "
        "AND lifecycle_stage = 'active' ORDER BY experiment_id"
    )
    found = None
    # The server is up: a database that is busy is no reason to leave it.
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as connection,
    ):
        found = connection.execute(question).fetchone()
    return f"/#/experiments/{found[0]}/runs" if found else ""


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # A port that was left a moment ago counts as free, as it does for the server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except (OSError, OverflowError) as problem:
            raise ValueError(
                f"Port {port} cannot be used ({problem}). Choose another one with --port."
            ) from None


def _wait_until_ready(server: subprocess.Popen[bytes], port: int) -> bool:
    # Nothing but this machine is asked; a proxy from the environment could not reach it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError):
            with opener.open(f"http://{_HOST}:{port}/health", timeout=5):
                return True
        time.sleep(0.2)
    return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server, which after Ctrl-C in a terminal is ending already."""
    for send in (server.poll, server.terminate, server.kill):
        send()
        # A second Ctrl-C means no more patience with this step.
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            server.wait(_PATIENCE_S)
            return


def _tail(log: IO[bytes], lines: int = 15) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
