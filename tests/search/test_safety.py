"""What is read from disk executes nothing, and names no file elsewhere."""

import ast
import os
import shutil
import sys
import time
from pathlib import Path

import kerasloss_search
import numpy as np
import pytest
import stub_pool
from kerasloss_search import cli
from kerasloss_search.dataset import Dataset
from kerasloss_search.executor import LocalPool
from kerasloss_search.jobs import Settings
from kerasloss_search.pairing import pair
from kerasloss_search.space import Space
from kerasloss_search.synthetic import write_micrographs

import kerasloss

PACKAGES = [Path(package.__path__[0]) for package in (kerasloss, kerasloss_search)]
SOURCES = sorted(file for folder in PACKAGES for file in folder.rglob("*.py"))

# Modules that make objects, and so calls, of what they read.
EXECUTING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def calls(tree):
    """The full name and the keywords of every call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: word.value for word in node.keywords}


def executing(tree):
    """What in a source would execute something that it reads."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (name for name in names if name.split(".")[0] in EXECUTING)
    for name, words in calls(tree):
        short = name.rpartition(".")[2]
        pickles = words.get("allow_pickle")
        if name in ("np.load", "numpy.load"):
            if not isinstance(pickles, ast.Constant) or pickles.value is not False:
                yield f"{name} without allow_pickle=False"
        elif pickles is not None or "weights_only" in words:
            yield name
        elif short == "load_model" and "safe_mode" in words:
            yield f"{name} with safe_mode"
        elif name in ("eval", "exec", "torch.load", "yaml.load", "enable_unsafe_deserialization"):
            yield name


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "pandas.read(path, allow_pickle=True)",
        "torch.load(path)",
        "keras.models.load_model(path, safe_mode=False)",
        "eval(text)",
    ],
)
def test_the_next_test_can_fail(source):
    assert list(executing(ast.parse(source)))


def test_nothing_that_is_read_is_executed():
    assert len(SOURCES) > 40
    found = {str(file): list(executing(ast.parse(file.read_text()))) for file in SOURCES}
    assert {file: what for file, what in found.items() if what} == {}


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_objects_in_a_data_set_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "data.npz", images=np.array([Evil()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        Dataset.load_npz(tmp_path / "data.npz")
    assert not (tmp_path / "executed").exists()


def test_objects_in_stored_weights_are_refused(tmp_path, monkeypatch):
    from kerasloss_search.trial import Bench

    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "0001.npz", np.array([Evil()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        Bench.export(Bench.__new__(Bench), None, tmp_path / "0001.npz", tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.fixture
def pictures(tmp_path):
    write_micrographs(tmp_path / "data", count=12, size=32, foreground=0.1)
    return tmp_path / "data"


def test_a_data_set_cannot_reach_files_elsewhere(pictures, tmp_path):
    """Neither by a linked mask nor by a linked folder, however deep."""
    inside, outside = pictures / "masks", tmp_path / "outside.png"
    names = sorted(file.name for file in inside.iterdir())
    (inside / names[0]).rename(outside)
    (inside / names[0]).symlink_to(outside)
    (inside / names[1]).unlink()
    (inside / names[1]).symlink_to("../../outside.png")
    (inside / "deep").mkdir()
    (inside / "deep" / "linked").symlink_to(tmp_path)
    samples, problems = pair(pictures / "images", inside, None)
    assert [problem.split(": ")[1].split(";")[0] for problem in problems[:3]] == [
        "is a linked folder",
        f"is a link that leaves {inside}",
        f"is a link that leaves {inside}",
    ]
    used = [mask for sample in samples for mask in sample.masks]
    assert used and all(mask.resolve().is_relative_to(inside) for mask in used)


@pytest.mark.parametrize("pattern", ["../{stem}*", "a/../../{stem}", "/tmp/{stem}", "..\\{stem}"])
def test_a_pattern_cannot_leave_the_data_set(pictures, pattern):
    samples, problems = pair(pictures / "images", None, pattern)
    assert samples == []
    assert len(problems) == 1 and "must stay inside the data folder" in problems[0]


def test_a_users_module_is_imported_only_when_it_is_named(
    pictures, template, tmp_path, monkeypatch
):
    """The current folder may be the downloads."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "nets.py").write_text("from pathlib import Path\nPath('executed').touch()\n")
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", [*sys.path])
    stub_pool.search(monkeypatch.setattr)
    command = [
        *("run", "--images", str(pictures / "images"), "--masks", str(pictures / "masks")),
        *("--size", "32", "--epochs", "1", "--terms", "dice,cross_entropy", "--trials", "4"),
    ]
    for name in ("plain", "own"):
        (tmp_path / name).mkdir()
        shutil.copy(template, tmp_path / name)
    assert cli.main([*command, "--output", str(tmp_path / "plain")]) == 0
    assert not (here / "executed").exists()
    assert cli.main([*command, "--output", str(tmp_path / "own"), "--model", "nets:net"]) == 2
    assert (here / "executed").exists()
    sys.modules.pop("nets")


def test_a_worker_executes_nothing_of_the_current_folder(tmp_path, monkeypatch):
    """Python looks for its own modules there first when it is started as a worker is."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("pickle", "socket", "warnings"):
        (here / f"{name}.py").write_text(f"open('{name} was executed', 'w')\n")
    monkeypatch.chdir(here)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    settings = Settings(tmp_path / "data.npz", Space(), model="no_such_module:net")
    pool = LocalPool(settings, workers=1, backend="torch", log=tmp_path / "log")
    try:
        assert "PYTHONSAFEPATH" not in os.environ
        events = []
        end = time.monotonic() + 120
        while not events and time.monotonic() < end:
            events = list(pool.poll(1.0))
    finally:
        pool.close()
    assert [event.kind for event in events] == ["refused"]
    assert sorted(path.name for path in here.iterdir()) == ["pickle.py", "socket.py", "warnings.py"]
