"""What arrives in MLflow."""

import json
import shutil
from pathlib import Path

import pytest
from kerasloss_search.tracking import store_uri
from tracking_study import assert_played, client_of, new, play, points, rows, runs_of


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


def test_artifacts_are_files_and_folders_and_may_be_missing(folder, monkeypatch):
    (folder / "plots").mkdir()
    (folder / "plots" / "curve.svg").write_text("<svg/>")
    (folder / "scores.csv").write_text("1")
    monkeypatch.chdir(folder)
    tracker = new(folder)
    tracker.start_study({}, {})
    tracker.log_artifact(None, folder / "plots")
    tracker.log_artifact(None, folder / "gone.txt")
    tracker.log_artifact(None, Path("scores.csv"), "tables/raw")
    tracker.log_artifact(3, folder / "plots")
    assert tracker.close(60) == 0
    (run,) = folder.glob("mlartifacts/*/artifacts")
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert files == {"plots/curve.svg", "tables/raw/scores.csv"}
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


def test_another_study_in_the_folder_has_runs_of_its_own(folder):
    """It gives the same numbers, to other losses."""
    tracker = new(folder)
    tracker.open_study("first")
    tracker.start_study({"seed": 1}, {})
    tracker.start_trial(0, {"lr": 1}, {"loss": "dice"})
    assert tracker.close(60) == 0  # and killed: nothing is ended
    tracker = new(folder)
    assert (tracker.study, tracker.started, tracker.open_trials()) == ("first", {0}, [0])
    tracker.open_study("second")
    assert (tracker.started, tracker.open_trials()) == (set(), [])
    tracker.start_study({"seed": 2}, {})
    tracker.start_trial(0, {"lr": 2}, {"loss": "focal"})
    tracker.end_trial(0, "FINISHED", {}, {})
    tracker.end_study("FINISHED", {}, {})
    with pytest.raises(ValueError, match="first"):
        tracker.open_study("first")
    assert tracker.close(60) == 0
    assert tracker.error is None
    client = client_of(store_uri(folder))
    experiment = client.get_experiment_by_name("toy")
    found = {
        run.data.tags["kerasloss.key"]: (run.info.status, {**run.data.params})
        for run in client.search_runs([experiment.experiment_id])
    }
    assert found == {
        "first/study": ("KILLED", {"seed": "1"}),
        "first/0": ("KILLED", {"lr": "1"}),
        "second/study": ("FINISHED", {"seed": "2"}),
        "second/0": ("FINISHED", {"lr": "2"}),
    }
