"""The command line: help that reads well, and one line with exit code 2 for every mistake."""

import numpy as np
import pytest
from kerasloss_search import cli, session
from kerasloss_search.synthetic import write_micrographs
from PIL import Image


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_micrographs(folder, count=12, size=32, foreground=0.1)
    return folder


def failing(capsys, *arguments):
    """Exit code and error lines of a command that ends before it trains."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    return code, capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["demo"], ["run"], ["ui"]])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as end:
        cli.main([*command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "kerasloss-search" in text
    if command in (["run"], ["demo"]):
        for option in ("--trials", "--epochs", "--batch-size", "--seed", "--workers", "--output"):
            assert option in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trials", "5"], ["--trials", "at least 6"]),
        (["--trials", "0"], ["--trials", ">= 1", "'0'"]),
        (["--epochs", "x"], ["--epochs", "'x'"]),
        (["--seed", "-1"], ["--seed"]),
        (["--backend", "theano"], ["--backend", "jax"]),
        (["--terms", "dice,dicee"], ["dicee", "tversky"]),
        (["--terms", "dice"], ["at least two"]),
        (["--group", "("], ["group"]),
        (["--group", "nothing"], ["nothing"]),
        (["--crop", "64"], ["--crop", "64"]),
        (["--size", "20"], ["--size", "divisible by 8"]),
        (["--tracking-uri", "somewhere/mlruns"], ["sqlite:///"]),
        (["--model", "no_such_package:net"], ["--model", "no_such_package"]),
        (["--model", "nets"], ["--model", "package.module:function"]),
    ],
)
def test_a_mistake_is_one_line_and_code_2(capsys, tmp_path, pictures, arguments, words):
    output = tmp_path / "out"
    code, error = failing(
        capsys,
        "run",
        *("--images", pictures / "images", "--masks", pictures / "masks", "--size", 32),
        *("--trials", 6, "--output", output),
        *arguments,
    )
    assert code == 2
    for word in words:
        assert word in error
    assert "Traceback" not in error
    assert not (output / "study.db").exists()


def test_no_images(capsys, tmp_path):
    code, error = failing(
        capsys,
        "run",
        "--images",
        tmp_path / "none",
        "--masks",
        tmp_path,
        "--output",
        tmp_path / "o",
    )
    assert code == 2
    assert "none" in error
    assert not (tmp_path / "o").exists()


def test_all_problems_of_the_data_are_listed(capsys, tmp_path, pictures):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        for file in (pictures / part).iterdir():
            (tmp_path / part / file.name).write_bytes(file.read_bytes())
    (tmp_path / "masks" / "micrograph_00_0.png").unlink()
    (tmp_path / "images" / "micrograph_00_1.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((8, 8), "uint8")).save(tmp_path / "masks" / "micrograph_00_2.png")
    code, error = failing(
        capsys,
        "run",
        *("--images", tmp_path / "images", "--masks", tmp_path / "masks"),
        *("--output", tmp_path / "o"),
    )
    assert code == 2
    for name in ("micrograph_00_0", "micrograph_00_1", "micrograph_00_2"):
        assert name in error


def test_ui_without_a_search(capsys, tmp_path):
    code, error = failing(capsys, "ui", "--output", tmp_path)
    assert code == 2
    assert "no mlflow.db" in error and "Run a search" in error


def test_a_second_search_on_one_folder_is_refused(capsys, tmp_path, pictures):
    arguments = ["run", "--images", pictures / "images", "--masks", pictures / "masks"]
    with session._lock(tmp_path):
        code, error = failing(capsys, *arguments, "--size", 32, "--trials", 6, "--output", tmp_path)
    assert code == 2
    assert "another search" in error


def test_the_backend_is_what_keras_is_set_to(monkeypatch, tmp_path):
    monkeypatch.setattr(session.importlib.util, "find_spec", lambda name: name)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert session.choose_backend(None) == "jax"
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    assert session.choose_backend(None) == "torch"
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert session.choose_backend(None) == "tensorflow"
    assert session.choose_backend("jax") == "jax"
    monkeypatch.setattr(session.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(session.SearchError, match=r"pip install .kerasloss\[torch\]"):
        session.choose_backend("torch")
