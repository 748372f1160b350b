"""What a later session makes of a folder: nothing found is lost, and it comes to an end."""

import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import stub_pool
from kerasloss_search import cli, conclusion, files
from kerasloss_search.dataset import Dataset
from kerasloss_search.executor import Event
from kerasloss_search.jobs import Final
from kerasloss_search.report.write import write_report
from kerasloss_search.space import Recipe
from kerasloss_search.study import Study
from kerasloss_search.synthetic import write_micrographs
from kerasloss_search.tracking import store_uri
from stub_pool import StubPool
from tracking_study import client_of


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_micrographs(folder, count=12, size=32, foreground=0.1)
    return folder


@pytest.fixture
def search(pictures, folder, monkeypatch, capsys):
    """Runs the command in one folder, without training."""

    def run(*more, pool=StubPool):
        stub_pool.search(monkeypatch.setattr, pool)
        given = ["run", "--images", str(pictures / "images"), "--masks", str(pictures / "masks")]
        given += ["--group", r"micrograph_\d+", "--size", "32", "--epochs", "2"]
        given += ["--terms", "dice,cross_entropy", "--trials", "8", "--final-seeds", "3"]
        code = cli.main([*given, "--output", str(folder), *more])
        printed, error = capsys.readouterr()
        assert "Traceback" not in printed + error
        return code, " ".join((printed + error).split())

    return run


def results(folder):
    return json.loads((folder / "results.json").read_text())


class Stopped(StubPool):
    def submit(self, worker, task, call, arguments):
        raise KeyboardInterrupt


class Broken(StubPool):
    """A set-up in which every trial fails."""

    def poll(self, timeout_s):
        if self._work is not None:
            self._work = None
            yield Event(0, "failed", self._task, "no memory")


def test_what_a_finished_search_found_outlives_a_longer_one_that_is_stopped(search, folder):
    assert search()[0] == 0
    before = results(folder)
    assert len(before["finals"]) == 6
    code, printed = search("--trials", "20", pool=Stopped)
    assert code == 130 and "The same command goes on" in printed
    assert results(folder) == before
    assert search("--trials", "10")[0] == 0
    assert len(results(folder)["trials"]) == 10


def test_a_verdict_outlives_a_stop_while_the_report_is_drawn(search, folder, monkeypatch):
    def stop(folder):
        raise KeyboardInterrupt

    stub_pool.search(monkeypatch.setattr)
    monkeypatch.setattr(stub_pool, "_no_pictures", stop)
    assert search()[0] == 130
    assert conclusion.write_report is stop
    assert len(results(folder)["finals"]) == 6


def test_a_stopped_search_has_results_so_far(search, folder, monkeypatch):
    class Later(StubPool):
        def submit(self, worker, task, call, arguments):
            if task == 3:
                raise KeyboardInterrupt
            super().submit(worker, task, call, arguments)

    def slow(*_):
        raise AssertionError("whoever has pressed Ctrl-C does not wait for this")

    with monkeypatch.context() as patch:
        patch.setattr(Study, "importance", slow)
        patch.setattr(conclusion, "findings", slow)
        code, printed = search(pool=Later)
    assert code == 130 and "could not be written" not in printed
    found = results(folder)
    assert len(found["trials"]) == 3 and found["finals"] == []
    assert found["importance"] == {} and found["findings"][0].endswith("the end of the search.")
    # The report of such a search is asked for by hand.
    page = write_report(folder)[0].read_text()
    assert found["findings"][0] in page
    assert search()[0] == 0
    assert {final["baseline"] is None for final in results(folder)["finals"]} == {True, False}
    assert results(folder)["findings"][0].startswith("Of 8 trials")


def test_after_three_failures_the_same_command_goes_on(search, folder):
    for _ in range(2):
        code, printed = search("--trials", "12", pool=Broken)
        assert code == 2 and "the first 3 trials failed: no memory" in printed
    assert search("--trials", "12")[0] == 0
    # The plain losses that had failed were trained after all.
    # One of them may have done better with another learning rate.
    plain = {
        final["label"].partition(", rate")[0]
        for final in results(folder)["finals"]
        if final["baseline"]
    }
    assert plain == {"cross-entropy", "dice", "dice + cross-entropy"}


def test_a_loss_that_diverges_in_the_end_is_left_out_and_named(search, folder):
    class Diverges(StubPool):
        def _final(self, trial, recipe, seed, stem):
            if trial == 0 and seed == 1001:
                yield "done", Final(trial, seed, math.nan, {}, [], 0.01, diverged=True)
            else:
                yield from super()._final(trial, recipe, seed, stem)

    assert search(pool=Diverges)[0] == 0
    found = results(folder)
    assert 0 not in [final["trial"] for final in found["finals"]]
    (said,) = [sentence for sentence in found["verdict"] if "left out" in sentence]
    assert "NaN or infinite in 1 of 3 trainings" in said
    assert search(pool=Diverges)[0] == 0, "again, from the files"


def test_a_loss_that_cannot_be_trained_anew_is_left_out_and_named(search, folder):
    class Fails(StubPool):
        def _final(self, trial, recipe, seed, stem):
            if trial == 0 and seed == 1001:
                yield "failed", "no room for a tensor"
            else:
                yield from super()._final(trial, recipe, seed, stem)

    for _ in range(2):
        assert search(pool=Fails)[0] == 0
        found = results(folder)
        assert 0 not in [final["trial"] for final in found["finals"]]
        (said,) = [sentence for sentence in found["verdict"] if "left out" in sentence]
        assert "training with seed 1001 failed twice (no room for a tensor)." in said
    # What was in the way is gone.
    assert search()[0] == 0
    assert 0 in [final["trial"] for final in results(folder)["finals"]]


def test_what_a_killed_session_left_half_written_is_removed(search, folder):
    assert search()[0] == 0
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = [
        folder / f".{gone.pid}.results.json",
        folder / f".{gone.pid}.best_model.keras",
        folder / f"data.npz.{gone.pid}.tmp",
        folder / "trials" / f".{gone.pid}.0003.json",
        folder / "finals" / f".{gone.pid}.0003-1000.weights.npz",
        # Every container may give the same number.
        folder / "finals" / f".{os.getpid()}.0003-1000.npz",
    ]
    kept = [
        folder / f".{os.getppid()}.results.json",
        folder / f"notes.{gone.pid}.tmp",
        folder / ".gitignore",
    ]
    for path in dead + kept:
        path.write_text("half")
    assert search()[0] == 0
    assert [path for path in dead if path.exists()] == []
    assert [path.read_text() for path in kept] == ["half"] * 3


def test_the_data_are_written_once(search, folder):
    assert search()[0] == 0
    stored = folder / "data.npz"
    first = stored.stat()
    assert search("--trials", "9")[0] == 0
    assert (stored.stat().st_ino, stored.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    whole = stored.read_bytes()
    for damage in (whole[:100], b"", whole[:-200]):
        stored.write_bytes(damage)
        assert search("--trials", "9")[0] == 0
        assert stored.read_bytes() == whole


@pytest.mark.parametrize("change", ["groups", "names", "classes", "masks"])
def test_other_data_are_told_from_those_in_the_file(tmp_path, change):
    masks = np.zeros((4, 2, 2), "uint8")
    names = ("a", "b", "c", "d")
    parts = np.arange(2), np.arange(2, 3), np.arange(3, 4)
    data = Dataset(np.zeros((4, 2, 2, 1), "float32"), masks, names, names, *parts, classes=2)
    assert not files.holds(tmp_path / "data.npz", data)
    data.save(tmp_path / "data.npz")
    assert files.holds(tmp_path / "data.npz", data)
    others = {"groups": ("a",) * 4, "names": ("b",) * 4, "classes": 3, "masks": masks + 1}
    assert not files.holds(tmp_path / "data.npz", replace(data, **{change: others[change]}))


def test_every_loss_diverges_in_the_end(search, folder):
    class Diverges(StubPool):
        def _final(self, trial, recipe, seed, stem):
            yield "done", Final(trial, seed, math.nan, {}, [], 0.01, diverged=True)

    code, printed = search(pool=Diverges)
    assert code == 2 and "nothing to compare" in printed
    assert len(results(folder)["trials"]) == 8


def test_fewer_final_seeds_than_before(search, folder):
    """The weights of the best training may have been tidied away."""
    assert search("--final-seeds", "8")[0] == 0
    for seeds in (7, 4, 2, 1):
        assert search("--final-seeds", str(seeds))[0] == 0
        assert {len(final["seeds"]) for final in results(folder)["finals"]} == {seeds}


def studies(folder):
    """Id of each study in MLflow -> number of each trial -> its run; all of them are closed."""
    client = client_of(store_uri(folder))
    found = {}
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id], max_results=1000):
            study, name = run.data.tags["kerasloss.key"].split("/")
            assert run.info.status != "RUNNING", run.info.run_name
            if name != "study":
                assert name not in found.setdefault(study, {})
                found[study][name] = run
    return found


def assert_mlflow_shows(folder, study):
    """The scores in MLflow are those of the trials that the study has."""
    trials = {str(trial["trial"]): trial for trial in results(folder)["trials"]}
    assert study.keys() == trials.keys()
    for number, run in study.items():
        assert run.data.metrics["best_score"] == trials[number]["values"]["dice"]
        assert run.data.params["loss"] == Recipe(**trials[number]["recipe"]).label


def forget(folder):
    for path in folder.glob("study.db*"):
        path.unlink()


def test_one_seed_gives_one_search(search, folder, template):
    """More trials than the sampler draws at random before it looks at what was found."""
    found = {}
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        output = folder / name
        output.mkdir()
        shutil.copy(template, output)
        more = ("--trials", "16", "--seed", seed, "--output", str(output))
        assert search(*more)[0] == 0
        found[name] = [
            (trial["params"], trial["outcome"], trial["curve"])
            for trial in results(output)["trials"]
        ]
    assert found["a"] == found["b"] != found["c"]


def test_a_study_that_is_deleted_begins_anew_everywhere(search, folder):
    assert search("--seed", "1")[0] == 0
    before = {final["trial"]: final["label"] for final in results(folder)["finals"]}
    forget(folder)
    assert search("--seed", "1", "--trials", "9", "--learning-rate", "0.001,0.002")[0] == 0
    found = studies(folder)
    assert sorted(map(len, found.values())) == [8, 9]
    (study,) = [study for study in found.values() if len(study) == 9]
    assert_mlflow_shows(folder, study)
    again = {final["trial"]: final["label"] for final in results(folder)["finals"]}
    assert before != again
    for path in (folder / "finals").glob("*.json"):
        stored = json.loads(path.read_text())
        trial = next(t for t in results(folder)["trials"] if t["trial"] == stored["trial"])
        if stored["trial"] in again:
            assert stored["recipe"] == Recipe(**trial["recipe"]).fingerprint


def test_an_older_copy_of_the_study_is_restored(search, folder):
    class Other(StubPool):
        """Other scores, so that the sampler goes another way."""

        def _train(self, recipe):
            for kind, content in super()._train(recipe):
                if kind == "done":
                    content = replace(content, values={"dice": 1.0 - content.values["dice"]})
                yield kind, content

    assert search()[0] == 0
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        # Not the file alone: its newest part is in the write-ahead log.
        connection.execute("VACUUM INTO ?", [str(folder.parent / "study.db")])
    assert search("--trials", "20")[0] == 0
    for times in (1, 2):
        forget(folder)
        shutil.copy(folder.parent / "study.db", folder)
        code, printed = search("--trials", "20", pool=Other)
        assert code == 0
        found = studies(folder)
        assert len(found) == 1 + times
        assert printed.count("Going on: 8 trials are done") == 1
        # The trials of the copy are in the new study, too.
        assert_mlflow_shows(folder, list(found.values())[0])
        assert search("--trials", "21", pool=Other)[0] == 0
        assert len(studies(folder)) == 1 + times
    assert not (folder / "outbox.skipped.jsonl").exists()
