"""Training never notices when nothing arrives in MLflow, and what is repeated counts once."""

import itertools
import json
import os
import shutil
import time

import pytest
from kerasloss_search.tracking import Tracker, store_uri
from tracking_study import (
    EPOCHS,
    TRIALS,
    assert_played,
    client_of,
    new,
    play,
    points,
    rows,
    runs_of,
    wait_until,
)


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
