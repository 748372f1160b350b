"""What a killed search has left behind, read without the code under test.

Everything is read from a copy, so that the next session meets the files as they were left.
"""

import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def database(path):
    """A copy of a SQLite database with its write-ahead log; None while there is no database."""
    if not path.exists():
        yield None
        return
    with tempfile.TemporaryDirectory() as scratch:
        for suffix in ("", "-wal", "-journal"):
            part = Path(f"{path}{suffix}")
            if part.exists():
                shutil.copy(part, Path(scratch) / f"copy.db{suffix}")
        with closing(sqlite3.connect(Path(scratch) / "copy.db")) as connection:
            yield connection


def assert_sound(folder):
    """No database is damaged, whatever the moment of the kill."""
    for name in ("study.db", "mlflow.db"):
        with database(folder / name) as connection:
            if connection is not None:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], name


def ended(folder):
    """Number -> everything that is recorded of a trial that has ended."""
    with database(folder / "study.db") as connection:
        if connection is None or not _tables(connection) >= {"trials", "trial_user_attributes"}:
            return {}
        attributes, params = {}, {}
        for number, key, value in connection.execute(
            "SELECT number, key, value_json FROM trials JOIN trial_user_attributes USING (trial_id)"
        ):
            attributes.setdefault(number, {})[key] = json.loads(value)
        for number, name, value in connection.execute(
            "SELECT number, param_name, param_value FROM trials JOIN trial_params USING (trial_id)"
        ):
            params.setdefault(number, {})[name] = value
    return {
        number: {**known["ending"], "params": params[number]}
        for number, known in attributes.items()
        if "ending" in known
    }


def assert_nothing_lost_or_repeated(before, after):
    """What had ended is there as it was, and no parameters were tried to the end twice."""
    for number, trial in before.items():
        assert after[number] == trial
    tried = Counter(json.dumps(trial["params"], sort_keys=True) for trial in after.values())
    assert [params for params, times in tried.items() if times > 1] == []


def assert_complete(folder, trials):
    """A search that was killed and has come to its end looks like one that was left alone."""
    done = ended(folder)
    assert len(done) == trials
    with database(folder / "study.db") as connection:
        states = {state for (state,) in connection.execute("SELECT DISTINCT state FROM trials")}
    assert not states & {"RUNNING", "WAITING"}
    results = json.loads((folder / "results.json").read_text())
    assert sorted(trial["trial"] for trial in results["trials"]) == sorted(done)
    _assert_recorded(folder, done)


def _assert_recorded(folder, done):
    """MLflow has one run a trial, each of them closed and told the same as the study."""
    with database(folder / "mlflow.db") as connection:
        runs = connection.execute("SELECT run_uuid, name, status FROM runs").fetchall()
        tags, metrics = {}, {}
        for run, key, value in connection.execute("SELECT run_uuid, key, value FROM tags"):
            tags.setdefault(run, {})[key] = value
        points = connection.execute("SELECT run_uuid, key, step, value FROM metrics").fetchall()
    for run, key, step, value in points:
        assert (key, step) not in metrics.setdefault(run, {}), f"{key} came twice"
        metrics[run][key, step] = value
    keys = Counter(tags[run]["kerasloss.key"] for run, _, _ in runs)
    assert [key for key, times in keys.items() if times > 1] == []
    parents = [status for run, _, status in runs if "mlflow.parentRunId" not in tags[run]]
    assert parents == ["FINISHED"]
    told = set()
    for run, name, status in runs:
        number = tags[run]["kerasloss.key"].split("/")[1]
        assert status in ("FINISHED", "KILLED", "FAILED"), f"{name} is left open"
        if number == "study":
            continue
        state = tags[run]["state"]
        assert state == done.get(int(number), {"outcome": "interrupted"})["outcome"]
        if int(number) in done:
            told.add(int(number))
            scores = [value for (key, _), value in metrics[run].items() if key == "best_score"]
            assert scores == [done[int(number)]["values"]["dice"]]
    assert told == done.keys()


def _tables(connection):
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
