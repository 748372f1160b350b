"""A whole search, from pictures on disk to a loss that trains another model."""

import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import optuna
import pytest
from kerasloss_search.synthetic import write_micrographs

import kerasloss

pytestmark = pytest.mark.backend

TRIALS = 7
SMALL = ["--size", "32", "--width", "4", "--depth", "2", "--epochs", "3", "--batch-size", "4"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_micrographs(folder, count=20, size=32, foreground=0.12)
    return folder


def command(pictures, output, *more):
    return [
        *(sys.executable, "-m", "kerasloss_search", "run"),
        *("--images", str(pictures / "images"), "--masks", str(pictures / "masks")),
        *("--group", r"micrograph_\d+", "--trials", str(TRIALS), "--output", str(output)),
        *(SMALL + list(more)),
    ]


def environment():
    return {**os.environ, "KERAS_BACKEND": keras.backend.backend()}


def stored_trials(folder):
    """The study's trials, read without the code under test."""
    study = optuna.load_study(study_name="kerasloss", storage=f"sqlite:///{folder}/study.db")
    return study.trials


def finished(folder):
    if not (folder / "study.db").exists():
        return []
    try:
        trials = stored_trials(folder)
    except (KeyError, optuna.exceptions.OptunaError):
        return []  # caught while it is being created
    return [trial for trial in trials if "outcome" in trial.user_attrs]


@pytest.fixture(scope="module")
def search(pictures, tmp_path_factory):
    """A search killed with SIGKILL in mid-trial and started again with the same command."""
    folder = tmp_path_factory.mktemp("search") / "out"
    first = subprocess.Popen(
        command(pictures, folder),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while len(finished(folder)) < 2 and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.2)
    before = {trial.number: trial for trial in finished(folder)}
    os.kill(first.pid, signal.SIGKILL)
    printed = first.communicate()[0]
    assert len(before) >= 2, printed
    second = subprocess.run(
        command(pictures, folder),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=400,
    )
    return folder, before, second


def test_killed_and_started_again(search):
    folder, before, second = search
    assert second.returncode == 0, second.stdout + second.stderr
    assert "Going on" in second.stdout
    trials = stored_trials(folder)
    done = [trial for trial in trials if "outcome" in trial.user_attrs]
    assert len(done) == TRIALS
    # None lost: what had ended is there as it was.
    for number, trial in before.items():
        assert trials[number].user_attrs["score"] == trial.user_attrs["score"]
        assert trials[number].datetime_complete == trial.datetime_complete
    # None repeated: every set of parameters ended once.
    assert len({json.dumps(trial.params, sort_keys=True) for trial in done}) == TRIALS
    assert not [trial for trial in trials if trial.state.name in ("RUNNING", "WAITING")]
    baselines = [trial.user_attrs.get("baseline") for trial in done]
    assert len([name for name in baselines if name]) == 5


def test_the_closing_table(search):
    _, _, second = search
    for word in ("dice + cross-entropy", "focal", "validation", "test", "kerasloss.load", "ui"):
        assert word in second.stdout


def test_results(search):
    folder, _, _ = search
    results = json.loads((folder / "results.json").read_text())
    assert len(results["trials"]) == TRIALS
    best = max(
        (trial for trial in results["trials"] if trial["outcome"] == "complete"),
        key=lambda trial: trial["validation"],
    )
    assert best["trial"] == results["best_trial"]
    assert len(best["test_per_image"]) == 4
    for name in ("curves.png", "overlays.png"):
        assert (folder / name).stat().st_size > 5000


def test_the_best_loss_trains_another_model(search):
    folder, _, _ = search
    loss = kerasloss.load(folder / "best_loss.json")
    inputs = keras.Input((16, 16, 1))
    outputs = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.05), loss=loss)
    rng = np.random.default_rng(0)
    x = rng.random((8, 16, 16, 1), dtype="float32")
    y = (x > 0.6).astype("float32")
    callbacks = [kerasloss.DynamicWeighting()] if isinstance(loss, kerasloss.Compound) else []
    history = model.fit(x, y, epochs=25, verbose=0, callbacks=callbacks).history["loss"]
    assert np.isfinite(history).all()
    assert history[-1] < 0.9 * history[0]


def test_the_best_model_predicts(search):
    folder, _, _ = search
    model = keras.models.load_model(folder / "best_model.keras")
    mask = model.predict(np.zeros((2, 32, 32, 1), "float32"), verbose=0)
    assert mask.shape == (2, 32, 32, 1)
    assert (mask >= 0).all() and (mask <= 1).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlflow_has_every_trial(search):
    folder, _, _ = search
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = next(e for e in client.search_experiments() if e.name.startswith("kerasloss"))
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.status for run in parents] == ["FINISHED"]
    children = [run for run in runs if run not in parents]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    ended = [run for run in children if run.data.tags.get("state") != "interrupted"]
    assert len(ended) == TRIALS
    complete = next(run for run in ended if run.data.tags["baseline"] == "dice")
    assert complete.data.tags["state"] == "complete"
    for metric in ("score", "loss", "dice", "weight/dice", "best_score", "duration_s"):
        assert metric in complete.data.metrics
    history = client.get_metric_history(complete.info.run_id, "score")
    assert [point.step for point in history] == [0, 1, 2]
    assert complete.data.params["use/dice"] == "True"
    # Terms that only ride along in the compiled step are left out.
    assert "focal" not in complete.data.metrics
    overlays = [f.path for run in ended for f in client.list_artifacts(run.info.run_id)]
    assert any(path.startswith("overlay_") for path in overlays)
