"""`kerasloss-search repeat`: a training of the final stage once more, compared with the record."""

import json
import sys
from dataclasses import replace

import pytest
import stub_pool
from kerasloss_search import cli, repeat
from kerasloss_search.synthetic import write_micrographs
from stub_pool import StubPool


@pytest.fixture
def finished(folder, tmp_path, monkeypatch, capsys):
    """The folder of a search in which nothing was trained."""
    write_micrographs(tmp_path / "pictures", count=12, size=32, foreground=0.1)
    stub_pool.search(monkeypatch.setattr)
    monkeypatch.setattr(repeat, "LocalPool", StubPool)
    given = [tmp_path / "pictures" / "images", "--masks", tmp_path / "pictures" / "masks"]
    given += ["--group", r"micrograph_\d+", "--size", "32", "--epochs", "2", "--output", folder]
    more = ["--terms", "dice,focal", "--trials", "5", "--final-seeds", "2"]
    assert cli.main(["run", "--images", *map(str, given), *more]) == 0
    capsys.readouterr()
    return folder


def test_the_same_numbers(finished, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert cli.main(["repeat", str(finished)]) == 0
    best = json.loads((finished / "results.json").read_text())["best"]["trial"]
    printed = capsys.readouterr().out
    assert f"trial {best}, seed 1000" in printed and "The same numbers" in printed
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
    assert cli.main(["repeat", str(finished), "--trial", "1", "--seed", "1001"]) == 0
    assert "trial 1, seed 1001" in capsys.readouterr().out


def test_other_numbers(finished, capsys, monkeypatch):
    class Other(StubPool):
        def _final(self, trial, recipe, seed, stem):
            for kind, final in super()._final(trial, recipe, seed, stem):
                yield kind, replace(final, curve=[0.25], validation=0.25)

    monkeypatch.setattr(repeat, "LocalPool", Other)
    assert cli.main(["repeat", str(finished)]) == 1
    printed = capsys.readouterr().out
    assert "0.250000 now" in printed and "The numbers differ" in printed


def test_own_modules_are_found(finished, tmp_path, monkeypatch):
    """Beside the folder, where a study file lies by default, and in the current folder."""
    stored = json.loads((finished / "results.json").read_text())
    stored["settings"]["model"] = "my_nets:tiny"
    (finished / "results.json").write_text(json.dumps(stored))
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert cli.main(["repeat", str(finished)]) == 0
    assert sys.path[:2] == [str(tmp_path), ""]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trial", "77"], ["--trial", "0, 1", "77"]),
        (["--seed", "5"], ["--seed", "1000, 1001", "5"]),
    ],
)
def test_what_was_not_trained_anew(finished, capsys, arguments, words):
    assert cli.main(["repeat", str(finished), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in words:
        assert word in error


def test_no_search_and_other_data(finished, tmp_path, capsys):
    assert cli.main(["repeat", str(tmp_path)]) == 2
    assert "FOLDER: expected the folder of a finished search" in capsys.readouterr().err
    stored = json.loads((finished / "results.json").read_text())
    stored["provenance"]["data_fingerprint"] = "another"
    (finished / "results.json").write_text(json.dumps(stored))
    assert cli.main(["repeat", str(finished)]) == 2
    assert "not the data of this search any more" in capsys.readouterr().err
