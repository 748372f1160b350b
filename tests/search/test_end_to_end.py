"""A whole search, from pictures on disk to a loss that trains another model."""

import json
import os
import re
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

TRIALS = 9  # five plain losses, the best of them with two other rates, and two searched ones
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
        *("--final-seeds", "2", "--final-top", "1"),
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
    return [trial for trial in trials if "ending" in trial.user_attrs]


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
    done = [trial for trial in trials if "ending" in trial.user_attrs]
    assert len(done) == TRIALS
    # None lost: what had ended is there as it was. (The kill may fall between a trial's last
    # attribute and its state.)
    for number, trial in before.items():
        assert trials[number].user_attrs == trial.user_attrs
        if trial.state.is_finished():
            assert trials[number].datetime_complete == trial.datetime_complete
    # None repeated: every set of parameters ended once.
    assert len({json.dumps(trial.params, sort_keys=True) for trial in done}) == TRIALS
    assert not [trial for trial in trials if trial.state.name in ("RUNNING", "WAITING")]
    baselines = [trial.user_attrs.get("baseline") for trial in done]
    assert len([name for name in baselines if name]) == 7


def test_the_closing_table(search):
    _, _, second = search
    for word in ("dice + cross-entropy", "focal", "validation", "test", "kerasloss.load", "ui"):
        assert word in second.stdout


def test_results(search):
    folder, _, _ = search
    results = json.loads((folder / "results.json").read_text())
    assert len(results["trials"]) == TRIALS
    assert len(results["finals"]) == 6
    for final in results["finals"]:
        assert len(final["seeds"]) == len(final["validation"]) == 2
        assert len(final["test"]["dice"]["per_image"]) == 4
        assert final["test"]["dice"]["mean"] == pytest.approx(
            np.mean(final["test"]["dice"]["per_image"])
        )
    best = max(results["finals"], key=lambda final: np.mean(final["validation"]))
    assert best["trial"] == results["best"]["trial"]
    assert [pair["trial"] for pair in results["comparisons"]] == [
        final["trial"] for final in results["finals"] if final["baseline"] is None
    ]
    assert results["verdict"] and results["findings"]
    searched = next(t for t in results["trials"] if t["trial"] == best["trial"])
    assert len(searched["logs"]["loss"]) == 3
    assert results["provenance"]["data_fingerprint"]
    # One file a loss, that of its best training.
    assert len(list((folder / "finals").glob("*.weights.npz"))) == 6


def test_the_best_loss_trains_another_model(search):
    folder, _, _ = search
    loss = kerasloss.load(folder / "best_loss.json")
    inputs = keras.Input((16, 16, 1))
    layer = keras.layers.Conv2D(
        1, 3, padding="same", kernel_initializer="zeros", activation="sigmoid"
    )
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.Adam(0.05), loss=loss)
    rng = np.random.default_rng(0)
    x = rng.uniform(-6, 4, (8, 16, 16, 1))
    y = x > 0
    callbacks = [kerasloss.DynamicWeighting()] if isinstance(loss, kerasloss.Compound) else []
    fitted = model.fit(x, y, epochs=40, batch_size=4, verbose=0, callbacks=callbacks)
    assert np.isfinite(fitted.history["loss"]).all()
    # Which loss wins depends on the machine: this holds for all there are in the search.
    predicted = model.predict(x, verbose=0)
    assert predicted[y].mean() - predicted[~y].mean() > 0.5


def test_the_best_model_predicts(search):
    folder, _, _ = search
    model = keras.models.load_model(folder / "best_model.keras")
    mask = model.predict(np.zeros((2, 32, 32, 1), "float32"), verbose=0)
    assert mask.shape == (2, 32, 32, 1)
    assert (mask >= 0).all() and (mask <= 1).all()


def test_a_training_repeated_gives_the_same_numbers(search):
    folder, _, _ = search
    again = subprocess.run(
        [sys.executable, "-m", "kerasloss_search", "repeat", str(folder)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "The same numbers, to the last digit." in again.stdout


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
    # The best plain loss goes into the final stage with the learning rate that did best for it.
    complete = next(
        run
        for run in ended
        if re.match(r"dice$|dice, rate", run.data.tags["baseline"])
        and "final_test_dice" in run.data.metrics
    )
    assert complete.data.tags["state"] == "complete"
    for metric in ("score", "loss", "dice", "weight/dice", "best_score", "duration_s"):
        assert metric in complete.data.metrics
    history = client.get_metric_history(complete.info.run_id, "score")
    assert [point.step for point in history] == [0, 1, 2]
    assert complete.data.params["use/dice"] == "True"
    # Terms that only ride along in the compiled step are left out.
    assert "focal" not in complete.data.metrics
    seeds = client.get_metric_history(complete.info.run_id, "final_test_dice")
    assert [point.step for point in seeds] == [0, 1]
