"""A small study that the tests of the tracking play, and how they look into MLflow."""

import sqlite3
import time
from pathlib import Path

import kerasloss_search
from kerasloss_search.tracking import Tracker, store_uri

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
