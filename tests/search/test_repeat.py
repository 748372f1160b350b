"""`kerasloss-search repeat`: a training of the final stage once more, compared with the record."""

import json
import shlex
import shutil
import sys
import tempfile
from dataclasses import replace

import pytest
import stub_pool
from kerasloss_search import cli, repeat
from kerasloss_search.synthetic import write_micrographs
from stub_pool import StubPool


@pytest.fixture(scope="module")
def searched(template, tmp_path_factory):
    """The folder of a search in which nothing was trained."""
    place = tmp_path_factory.mktemp("searched")
    write_micrographs(place / "pictures", count=12, size=32, foreground=0.1)
    folder = place / "out"
    folder.mkdir()
    shutil.copy(template, folder)
    given = [place / "pictures" / "images", "--masks", place / "pictures" / "masks"]
    given += ["--group", r"micrograph_\d+", "--size", "32", "--epochs", "2", "--output", folder]
    more = ["--terms", "dice,focal", "--trials", "5", "--final-seeds", "2"]
    with pytest.MonkeyPatch.context() as patch:
        stub_pool.search(patch.setattr)
        assert cli.main(["run", "--images", *map(str, given), *more]) == 0
    return folder


@pytest.fixture
def finished(searched, tmp_path, monkeypatch, capsys):
    """A copy of it for a test of its own."""
    monkeypatch.setattr(repeat, "LocalPool", StubPool)
    capsys.readouterr()
    return shutil.copytree(searched, tmp_path / "my search")


def trained_anew(folder):
    results = json.loads((folder / "results.json").read_text())
    return sorted(final["trial"] for final in results["finals"])


def test_the_same_numbers(finished, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert cli.main(["repeat", str(finished)]) == 0
    best = json.loads((finished / "results.json").read_text())["best"]["trial"]
    printed = capsys.readouterr().out
    assert f"trial {best}, seed 1000" in printed and "The same numbers" in printed
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
    other = str(trained_anew(finished)[-1])
    assert cli.main(["repeat", str(finished), "--trial", other, "--seed", "1001"]) == 0
    assert f"trial {other}, seed 1001" in capsys.readouterr().out


def test_other_numbers(finished, capsys, monkeypatch):
    class Other(StubPool):
        def _final(self, trial, recipe, seed, stem):
            for kind, final in super()._final(trial, recipe, seed, stem):
                yield kind, replace(final, curve=[0.25], validation=0.25)

    monkeypatch.setattr(repeat, "LocalPool", Other)
    assert cli.main(["repeat", str(finished)]) == 1
    printed = capsys.readouterr().out
    assert "0.250000 now" in printed and "The numbers differ" in printed


def stored(folder, change):
    """Changes `results.json` as somebody might who gives the folder away."""
    content = json.loads((folder / "results.json").read_text())
    change(content)
    (folder / "results.json").write_text(json.dumps(content))


def of_own(content):
    content["settings"]["model"] = "my_nets:tiny"
    content["settings"]["space"]["strategies"].append("my_nets:Pace")
    content["settings"]["space"]["terms"]["my_nets:Rim"] = {"family": "region"}
    content["settings"]["space"]["terms"]["my_nets:Rim"] |= {"fixed": {}, "ranges": {}}


OWN = ["my_nets:Pace", "my_nets:Rim", "my_nets:tiny"]


def test_own_modules_are_executed_only_if_they_are_named_again(
    finished, tmp_path, monkeypatch, capsys
):
    """They are found beside the folder, where a study file lies, and in the current folder."""
    stored(finished, of_own)
    (tmp_path / "my_nets.py").write_text("open('executed', 'w')")
    before = list(sys.path)
    monkeypatch.setattr(sys, "path", list(before))
    monkeypatch.chdir(tmp_path)
    asked = ["repeat", str(finished), "--seed", "1001"]
    for named in ([], OWN[:2]):
        words = [word for name in named for word in ("--own", name)]
        assert cli.main([*asked, *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert error.startswith("kerasloss-search: --own: ")
        line = shlex.split(error.partition("name them: ")[2])
        assert line == [
            *("kerasloss-search", "repeat", str(finished), "--seed", "1001"),
            *(word for name in OWN for word in ("--own", name)),
        ]
        assert sys.path == before
    assert cli.main(line[1:]) == 0
    assert sys.path[:2] == [str(tmp_path), ""]
    assert not (tmp_path / "executed").exists()  # the stub trains nothing


def test_a_name_that_the_search_did_not_use(finished, capsys):
    assert cli.main(["repeat", str(finished), "--own", "my_nets:tiny"]) == 2
    assert "--own: expected none" in capsys.readouterr().err
    stored(finished, of_own)
    assert cli.main(["repeat", str(finished), "--own", "my_nets:tinny"]) == 2
    assert "did you mean 'my_nets:tiny'?" in capsys.readouterr().err


def test_log_and_cache_come_from_elsewhere(finished, tmp_path, monkeypatch, capsys):
    """The folder may be a read-only archive; what is compiled in it may have come with it."""
    places = []

    class Pool(StubPool):
        def __init__(self, settings, *, log, **options):
            places.append(log.parent)
            log.write_text("what was printed")
            super().__init__(settings, log=log, **options)

    class Failing(Pool):
        def _final(self, *arguments):
            yield "refused", "no room"

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(repeat, "LocalPool", Pool)
    assert cli.main(["repeat", str(finished)]) == 0
    assert not places[0].is_relative_to(finished) and not places[0].exists()
    capsys.readouterr()
    monkeypatch.setattr(repeat, "LocalPool", Failing)
    assert cli.main(["repeat", str(finished)]) == 2
    error = capsys.readouterr().err
    assert error == f"kerasloss-search: no room (workers.log: {places[1] / 'workers.log'})\n"
    assert [path.name for path in places[1].iterdir()] == ["workers.log"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: json.dumps({"format": 2}),
        *(
            (lambda text, key=key: json.dumps(without(json.loads(text), *key)))
            for key in [
                ("settings",),
                ("settings", "space"),
                ("settings", "epochs"),
                ("provenance",),
                ("provenance", "backend"),
                ("trials",),
            ]
        ),
    ],
)
def test_damaged_results(finished, capsys, damage):
    path = finished / "results.json"
    path.write_text(damage(path.read_text()))
    assert cli.main(["repeat", str(finished)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("kerasloss-search: ") and error.count("\n") == 1
    assert str(path) in error
    assert "damaged" in error or "cannot be read" in error or "format" in error


def without(content, *keys):
    place = content
    for key in keys[:-1]:
        place = place[key]
    del place[keys[-1]]
    return content


def evil(*keys):
    def change(content):
        place = content
        for key in keys[:-2]:
            place = place[key]
        place[keys[-2]] = keys[-1]

    return change


def evil_recipe(name, value):
    def change(content):
        for one in content["trials"]:
            one["recipe"][name] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        evil("settings", "model", "evil"),
        evil("settings", "model", "evil :net"),
        evil("settings", "model", ["evil:net"]),
        evil("settings", "space", "strategies", ["static", "evil"]),
        evil("settings", "space", "optimizers", ["evil"]),
        evil("provenance", "backend", "evil"),
        evil_recipe("strategy", "evil:Pace"),
        evil_recipe("strategy", "evil"),
        evil_recipe("optimizer", {"module": "evil", "class_name": "Adam", "config": {}}),
        evil_recipe("weights", {"evil:Rim": 1.0}),
        evil_recipe("options", {"dice": {"dtype": {"module": "evil", "class_name": "X"}}}),
        evil("settings", "space", "terms", "dice", "fixed", {"dtype": {"module": "evil"}}),
        evil("settings", "model_options", {"width": {"module": "evil"}}),
    ],
)
def test_names_are_never_looked_up_unasked(finished, capsys, monkeypatch, change):
    monkeypatch.setattr(repeat, "LocalPool", None)
    stored(finished, change)
    assert cli.main(["repeat", str(finished)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "results.json` is damaged" in error


@pytest.mark.parametrize("content", ["", "{}", '{"trial": 1}', "[1]", "{"])
@pytest.mark.parametrize("name", ["data.npz", "finals/*-1000.json"])
def test_other_damaged_files(finished, capsys, name, content):
    for path in finished.glob(name):
        path.write_text(content)
    assert cli.main(["repeat", str(finished)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "is damaged" in error and "restore a copy" in error
    assert name[-5:] in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trial", "77"], ["--trial", "77"]),
        (["--seed", "5"], ["--seed", "1000, 1001", "5"]),
    ],
)
def test_what_was_not_trained_anew(finished, capsys, arguments, words):
    assert cli.main(["repeat", str(finished), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    if "--trial" in words:
        words = [*words, ", ".join(map(str, trained_anew(finished)))]
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
