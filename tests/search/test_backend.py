"""Which backend a search trains on: the same one every time that the same is said."""

import importlib.util
import json
import subprocess

import pytest
from fresh_python import printed_by
from kerasloss_search.backend import choose_backend
from kerasloss_search.driver import SearchError
from kerasloss_search.space import Space
from kerasloss_search.study import Study


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user who has set nothing; whose Keras has never run."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def installed(monkeypatch):
    """Has just these backends be installed."""

    def only(*names):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: name if name in names else None
        )

    only("jax", "tensorflow", "torch")
    return only


def study(folder, backend):
    folder.mkdir(exist_ok=True)
    space = Space.of(("dice", "cross_entropy"), steps=6)
    Study(folder, space, identity={"backend": backend}, epochs=2, seed=0)
    return folder


def configure(home, backend):
    (home / "keras.json").write_text(json.dumps({"backend": backend}))


def test_the_first_import_of_keras_changes_nothing(home, monkeypatch):
    """It writes `tensorflow` into its file, whatever it runs on."""
    before = choose_backend(None)
    monkeypatch.setenv("KERAS_BACKEND", before)
    printed_by("import keras")
    monkeypatch.delenv("KERAS_BACKEND")
    assert json.loads((home / "keras.json").read_text())["backend"] == "tensorflow"
    assert choose_backend(None) == before == "jax"


def test_nor_does_it_where_tensorflow_is_not_installed(home, installed):
    configure(home, "tensorflow")
    installed("jax")
    assert choose_backend(None) == "jax"
    installed("torch")
    assert choose_backend(None) == "torch"


def test_the_order(home, installed, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    assert choose_backend(None, folder) == "jax"
    assert not folder.exists()
    configure(home, "torch")
    assert choose_backend(None, folder) == "torch"
    study(folder, "tensorflow")
    assert choose_backend(None, folder) == "tensorflow"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert choose_backend(None, folder) == "torch"
    assert choose_backend("jax", folder) == "jax"


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_reading_a_study_makes_and_changes_nothing(installed, tmp_path, content):
    assert choose_backend(None, tmp_path / "nowhere") == "jax"
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "study.db").write_bytes(content)
    assert choose_backend(None, tmp_path) == "jax"
    assert (tmp_path / "study.db").read_bytes() == content


def test_a_study_that_a_killed_search_has_left(installed, tmp_path):
    """What it had stored is in the write-ahead log still."""
    code = f"""
import os
from pathlib import Path
from kerasloss_search.space import Space
from kerasloss_search.study import Study
space = Space.of(("dice", "cross_entropy"), steps=6)
study = Study(Path({str(tmp_path)!r}), space, identity={{"backend": "torch"}}, epochs=2, seed=0)
os.kill(os.getpid(), 9)
"""
    with pytest.raises(subprocess.CalledProcessError):
        printed_by(code)
    assert (tmp_path / "study.db-wal").stat().st_size
    assert choose_backend(None, tmp_path) == "torch"


def test_what_keras_is_set_to_counts_only_where_it_is_installed(home, installed):
    configure(home, "torch")
    installed("jax", "tensorflow")
    assert choose_backend(None) == "jax"
    (home / "keras.json").write_text("{no json")
    assert choose_backend(None) == "jax"


def test_a_backend_that_is_not_installed(installed, tmp_path, monkeypatch):
    installed("tensorflow")
    with pytest.raises(SearchError) as problem:
        choose_backend("torch")
    assert str(problem.value) == (
        "--backend: expected a Keras backend that is installed, received 'torch'; "
        'pip install "kerasloss[torch]", or give --backend tensorflow'
    )
    folder = study(tmp_path / "out", "jax")
    with pytest.raises(SearchError, match=r'the study in .*out: .*\'jax\'; pip .*"kerasloss\[jax'):
        choose_backend(None, folder)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(SearchError, match=r"^KERAS_BACKEND: .*\[torch\]"):
        choose_backend(None)
    installed()
    with pytest.raises(SearchError, match=r"received 'torch'; pip install .kerasloss\[torch\].$"):
        choose_backend(None)
    monkeypatch.delenv("KERAS_BACKEND")
    with pytest.raises(SearchError, match=r"no Keras backend is installed.*kerasloss\[jax\]"):
        choose_backend(None)


@pytest.mark.parametrize("name", ["jaxx", "openvino", "../x"])
def test_an_unknown_backend(installed, monkeypatch, name):
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(SearchError) as problem:
        choose_backend(None)
    assert str(problem.value) == (
        f"KERAS_BACKEND: expected a Keras backend, jax, tensorflow or torch, received {name!r}; "
        "give one of them"
    )
    assert "kerasloss[" not in str(problem.value)
