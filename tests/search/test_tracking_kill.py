"""A driver that is killed at any moment doubles nothing in MLflow.

Run as a script, this file is the victim: one process that has imported MLflow and forks a driver
a line of its input, because the import costs seconds.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from kerasloss_search.tracking.delivery import Delivery
from tracking_study import EPOCHS, SEARCH, TRIALS, assert_played, new, play, rows


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
    connect = Delivery._connect

    def connect_later(self):
        written.wait()
        connect(self)

    Delivery._connect = connect_later
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
