"""What can go wrong around a search: one line that says what to do, and the study is kept."""

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import keras
import numpy as np
import pytest
import stub_pool
from kerasloss_search import cli, executor, session, study, sync, trouble
from kerasloss_search.dataset import Dataset
from kerasloss_search.jobs import Settings
from kerasloss_search.lock import locked
from kerasloss_search.outbox import JOURNAL
from kerasloss_search.space import Space
from kerasloss_search.synthetic import write_micrographs
from kerasloss_search.tracking import Tracker
from rich.console import Console
from stub_pool import StubPool
from tracking_study import SEARCH
from wreck import assert_complete, assert_nothing_lost_or_repeated, assert_sound, ended

TRIALS = 6


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_micrographs(folder, count=12, size=32, foreground=0.1)
    return folder


def arguments(pictures, output):
    return [
        *("run", "--images", str(pictures / "images"), "--masks", str(pictures / "masks")),
        *("--group", r"micrograph_\d+", "--size", "32", "--epochs", "2", "--batch-size", "4"),
        *("--terms", "dice,cross_entropy", "--trials", str(TRIALS), "--output", str(output)),
    ]


@pytest.fixture
def search(pictures, monkeypatch, capsys):
    """Runs the command without training; `mishap` happens before the trial of that number."""

    def run(output, mishap=None, at=2):
        class Pool(StubPool):
            def submit(self, worker, task, call, arguments):
                super().submit(worker, task, call, arguments)
                if mishap is not None and task == at:
                    mishap()

        stub_pool.search(monkeypatch.setattr, Pool)
        code = cli.main(arguments(pictures, output))
        printed, error = capsys.readouterr()
        assert "Traceback" not in printed + error
        return code, error

    return run


def assert_one_line(error, *words):
    assert error.startswith("kerasloss-search: ") and error.count("\n") == 1
    for word in words:
        assert word in error


def assert_goes_on(search, output):
    """The same command ends the study, and what had ended before is still there."""
    before = ended(output)
    assert len(before) == 2
    assert_sound(output)
    assert search(output) == (0, "")
    assert_nothing_lost_or_repeated(before, ended(output))
    assert_complete(output, TRIALS)


def mount(path, *options):
    done = subprocess.run(["mount", *options, str(path)], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def small_disk(template, tmp_path):
    """A disk of its own of a few MB, with room for a whole search."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None or not mount(disk, "-t", "tmpfs", "-o", "size=8m", "none"):
        pytest.skip("needs the right to mount a disk")
    output = disk / "out"
    output.mkdir()
    shutil.copy(template, output)
    yield output
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk(small_disk, search):
    filler = small_disk.parent / "filler"

    def fill():
        with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(bytes(4096))

    code, error = search(small_disk, fill)
    assert code == 2
    assert_one_line(error, "is full", "free some space", "Finished trials are kept")
    filler.unlink()
    assert_goes_on(search, small_disk)


def test_a_disk_that_is_read_only(small_disk, search, tmp_path):
    """Not by permissions, which the administrator's programs do not ask."""
    assert search(small_disk, _ctrl_c)[0] == 130
    # The same folder by another way: a disk on which files are open cannot be turned.
    readable = tmp_path / "readable"
    readable.mkdir()
    assert mount(readable, "--bind", str(small_disk))
    try:
        assert mount(readable, "-o", "remount,bind,ro")
        code, error = search(readable)
    finally:
        subprocess.run(["umount", "--lazy", str(readable)], check=True)
    assert code == 2
    assert_one_line(error, "cannot be written", "permissions", "--output")
    assert_goes_on(search, small_disk)


def _ctrl_c():
    raise KeyboardInterrupt


def test_a_file_in_place_of_the_output_folder(tmp_path, search):
    (tmp_path / "out").write_text("precious")
    code, error = search(tmp_path / "out")
    assert code == 2
    assert_one_line(error, "out", "is a file; give a folder", "--output")
    assert (tmp_path / "out").read_text() == "precious"


def test_a_database_locked_by_another_program(template, tmp_path, search, monkeypatch):
    monkeypatch.setattr(study, "_LOCK_WAIT_S", 0.1)
    shutil.copy(template, tmp_path)
    with closing(sqlite3.connect(tmp_path / "study.db")) as viewer:
        code, error = search(tmp_path, lambda: viewer.execute("BEGIN IMMEDIATE"))
        viewer.rollback()
    assert code == 2
    assert_one_line(error, "locked by another program", "close it there", "repeat the command")
    assert_goes_on(search, tmp_path)


def test_a_damaged_database(tmp_path, search):
    (tmp_path / "study.db").write_bytes(b"no database at all" * 100)
    code, error = search(tmp_path)
    assert code == 2
    assert_one_line(error, "cannot be used (file is not a database)", "--output")


@pytest.mark.parametrize("command", ["run", "demo"])
def test_two_searches_in_one_folder(tmp_path, pictures, capsys, command):
    with locked(tmp_path):
        options = arguments(pictures, tmp_path) if command == "run" else ["demo"]
        code = cli.main([*options, "--output", str(tmp_path)])
    assert code == 2
    assert_one_line(capsys.readouterr().err, "another search is running", "Wait for it")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_memory_of_the_driver(tmp_path, search):
    def greedy():
        np.empty(10**15)

    code, error = search(tmp_path, greedy)
    assert code == 2
    assert_one_line(error, "out of memory", "--batch-size")
    assert_sound(tmp_path)
    assert len(ended(tmp_path)) == 2


def test_a_trial_that_ended_just_before_the_process_keeps_its_result(
    template, tmp_path, search, monkeypatch
):
    """The study knew of the end, MLflow did not."""
    shutil.copy(template, tmp_path)
    end = Tracker.end_trial

    def interrupted(tracker, number, *rest):
        if number == 1:
            raise KeyboardInterrupt
        end(tracker, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "end_trial", interrupted)
        assert search(tmp_path)[0] == 130
    assert_goes_on(search, tmp_path)


def test_sigterm_stops_like_ctrl_c(template, tmp_path, search):
    shutil.copy(template, tmp_path)  # making one takes longer than it may after Ctrl-C
    code, error = search(tmp_path, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert (code, error) == (130, "")
    assert_goes_on(search, tmp_path)


NETS = '''
import os, signal
from pathlib import Path
import keras

PLAN = Path(__file__).with_name("plan.txt")


class Mischief(keras.layers.Layer):
    """Does what stands first in a file, each time that it is trained."""

    def call(self, x, training=None):
        if training:
            wish, *rest = PLAN.read_text().split() or ["nothing"]
            PLAN.write_text(" ".join(rest))
            if wish == "memory":
                raise MemoryError("no room for a tensor")
            if wish == "boom":
                raise RuntimeError("boom")
            if wish == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if wish == "nan":
                return x * float("nan")
        return x


def net(shape, channels):
    if PLAN.read_text() == "build":
        raise RuntimeError("cannot\\nbe built")
    inputs = keras.Input(shape)
    x = keras.layers.Conv2D(channels, 3, padding="same", activation="sigmoid")(inputs)
    return keras.Model(inputs, Mischief()(x))
'''


def test_a_model_that_fails_in_every_way(template, tmp_path, pictures):
    """The real command with real workers: each trial that fails is marked, and the rest goes on."""
    (tmp_path / "nets.py").write_text(NETS)
    output = tmp_path / "out"
    output.mkdir()
    shutil.copy(template, output)

    def run(plan):
        (tmp_path / "plan.txt").write_text(plan)
        return subprocess.run(
            [
                *(sys.executable, "-m", "kerasloss_search", *arguments(pictures, output)),
                *("--model", "nets:net", "--backend", "torch"),
                *("--final-top", "1", "--final-seeds", "1"),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SEARCH), str(SEARCH.parent)])},
            capture_output=True,
            text=True,
            timeout=400,
        )

    refused = run("build")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert_one_line(
        refused.stderr, "--model nets:net: RuntimeError: cannot be built", "workers.log"
    )
    assert ended(output) == {}

    # Two steps are a trial that ends well.
    search = run("ok ok memory boom kill nan")
    assert search.returncode == 0, search.stdout + search.stderr
    assert search.stderr == ""
    for words in (
        "out of memory: give a smaller --batch-size",
        "boom",
        "worker lost (its process was killed (code -9), as the system does when memory runs out",
        "the loss became NaN or infinite",
    ):
        assert words in " ".join(search.stdout.split()), search.stdout
    assert "Traceback" not in search.stdout
    assert "Traceback" in (output / "workers.log").read_text()
    outcomes = sorted(trial["outcome"] for trial in ended(output).values())
    assert outcomes == ["complete"] * 3 + ["diverged"] + ["failed"] * 2
    assert_sound(output)


def tiny(builder):
    """Reasons for which a worker refuses to train what a user's function returns."""
    inputs = keras.Input((16, 16, 1))
    return keras.Model(inputs, builder(inputs))


WRONG = {
    "shape": lambda *_: tiny(lambda x: keras.layers.Conv2D(3, 1, activation="softmax")(x)),
    "size": lambda *_: tiny(
        lambda x: keras.layers.MaxPooling2D()(keras.layers.Conv2D(1, 1, activation="sigmoid")(x))
    ),
    "activation": lambda *_: tiny(lambda x: 9.0 + keras.layers.Conv2D(1, 1)(x)),
    "nothing": lambda *_: None,
    "memory": lambda *_: np.empty(10**15),
}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shape", ["--model: expected an output of shape (batch, 16, 16, 1 or 2)", "16, 3)"]),
        ("size", ["--model: expected an output of shape (batch, 16, 16, 1 or 2)", "8, 8, 1)"]),
        ("activation", ["--model: expected probabilities", "Give --from-logits"]),
        ("nothing", ["--model: expected a keras.Model", "NoneType"]),
        ("memory", ["--model nets:net: out of memory: give a smaller --batch-size"]),
    ],
)
def test_a_model_that_does_not_fit(tmp_path, monkeypatch, name, words):
    from kerasloss_search.trial import Bench

    monkeypatch.setattr("kerasloss_search.models.from_name", lambda _: WRONG[name])
    images = np.random.default_rng(0).random((12, 16, 16, 1), dtype="float32")
    names = tuple(f"image {index}" for index in range(12))
    parts = np.arange(6), np.arange(6, 9), np.arange(9, 12)
    masks = (images[..., 0] > 0.8).astype("uint8")
    Dataset(images, masks, names, names, *parts, classes=2).save(tmp_path / "data.npz")
    space = Space(terms=("dice", "cross_entropy"), steps=6)
    settings = Settings(tmp_path / "data.npz", space, model="nets:net")
    with pytest.raises((ValueError, MemoryError)) as problem:
        Bench(settings)
    line = executor._refusal(problem.value, settings)
    assert "\n" not in line
    assert not line.startswith("ValueError")
    for word in words:
        assert word in line


class XlaRuntimeError(RuntimeError):
    """JAX's name for it."""


class ResourceExhaustedError(Exception):
    """TensorFlow's name for it."""


def really(amount):
    import torch

    torch.empty(amount)


@pytest.mark.parametrize(
    "fail",
    [
        lambda: np.empty(10**15),
        lambda: really(10**15),
        lambda: (_ for _ in ()).throw(
            XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.")
        ),
        lambda: (_ for _ in ()).throw(ResourceExhaustedError("Graph execution error")),
        lambda: (_ for _ in ()).throw(RuntimeError("OOM when allocating tensor with shape[8,9]")),
        lambda: (_ for _ in ()).throw(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")),
    ],
    ids=["NumPy", "PyTorch", "JAX", "TensorFlow", "TensorFlow's text", "CUDA"],
)
def test_memory_that_runs_out_is_named_whatever_the_backend_calls_it(fail):
    with pytest.raises(Exception) as problem:
        fail()
    assert trouble.out_of_memory(problem.value).startswith("out of memory: give a smaller")


@pytest.mark.parametrize("text", ["boom", "no room left in the bloom filter", "shape mismatch"])
def test_other_problems_are_not_taken_for_it(text):
    problem = RuntimeError(text)
    assert trouble.out_of_memory(problem) is None
    assert trouble.explain(problem, study) is None


def test_what_keras_adds_to_a_message_is_left_out():
    problem = ValueError(
        "Exception encountered when calling Net.call().\n\n\x1b[1mboom\x1b[0m\n\nArguments "
        "received by Net.call():\n  • x=tensor"
    )
    assert trouble.one_line(problem) == (
        "ValueError: Exception encountered when calling Net.call(). boom"
    )


@pytest.fixture
def closed(monkeypatch):
    """Takes the right to read a file away; from the administrator, too."""
    names = []
    read, opened, access = Path.read_text, Path.read_bytes, os.access

    def refused(function):
        def instead(path, *arguments, **options):
            if Path(path).name in names:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return function(path, *arguments, **options)

        return instead

    monkeypatch.setattr(Path, "read_text", refused(read))
    monkeypatch.setattr(Path, "read_bytes", refused(opened))
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path).name not in names and access(path, mode)
    )
    return names.append


@pytest.mark.parametrize("command", ["report", "repeat"])
def test_results_that_may_not_be_read(tmp_path, capsys, closed, command):
    (tmp_path / "results.json").write_text("{}")
    closed("results.json")
    assert cli.main([command, str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert_one_line(error, "results.json cannot be read (Permission denied)", "its permissions")
    assert "--output" not in error


def test_a_study_file_that_may_not_be_read(tmp_path, capsys, closed):
    (tmp_path / "study.toml").write_text("[data]")
    closed("study.toml")
    assert cli.main(["run", str(tmp_path / "study.toml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{tmp_path / 'study.toml'}: cannot be read (Permission denied)")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "raise PermissionError(13, 'Permission denied', 'weights.h5')",
        "import os; os.mkdir('there'); os.mkdir('there')",
        "import sqlite3; sqlite3.connect('/nowhere/own.db')",
        "raise MemoryError('weights of 90 GB')",
    ],
)
def test_what_an_own_module_raises_is_its_own(tmp_path, pictures, capsys, monkeypatch, wrong):
    (tmp_path / "own_nets.py").write_text(wrong)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    command = [*arguments(pictures, tmp_path / "out"), "--model", "own_nets:net"]
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert_one_line(error, "--model", "'own_nets' cannot be imported", "correct that file")
    assert "--output" not in error


def test_what_a_problem_hides_is_not_told():
    def hiding():
        try:
            raise PermissionError(errno.EACCES, "Permission denied", "out/x")
        except PermissionError:
            raise ValueError("the whole story") from None

    with pytest.raises(ValueError) as problem:
        hiding()
    assert trouble.explain(problem.value, Path("out")) is None


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            PermissionError(errno.EACCES, "no", "out/a"),
            "out/a cannot be written (no): give another",
        ),
        (PermissionError(errno.EACCES, "no"), "out cannot be written (no): give another --output"),
        (PermissionError(errno.EACCES, "no", "there/a"), "there/a cannot be written (no): correct"),
        (OSError(errno.EROFS, "no", b"out/a"), "out/a cannot be written (no): give another"),
        (FileExistsError(errno.EEXIST, "no", "out"), "out is in the way"),
        (IsADirectoryError(errno.EISDIR, "no", "out/a"), "out/a is a folder, a file is needed"),
        (FileExistsError(errno.EEXIST, "no", "there/a"), None),
        (FileNotFoundError(errno.ENOENT, "no", "out/a"), None),
    ],
)
def test_only_the_output_folder_can_be_replaced_by_another(problem, words):
    line = trouble.explain(problem, Path("out"))
    assert line is None if words is None else line.startswith(words)


def test_a_folder_in_place_of_the_log(template, tmp_path, pictures, capfd):
    shutil.copy(template, tmp_path)
    (tmp_path / "workers.log").mkdir()
    assert cli.main(arguments(pictures, tmp_path)) == 2
    printed, error = capfd.readouterr()
    assert_one_line(error, "workers.log is a folder, a file is needed there", "--output")
    assert "Traceback" not in printed


class Tracking:
    """A record of which MLflow has not taken everything."""

    error = "refused [/x] by [bold]the server"
    lost = "one[/y] event[new]"
    delivered = 3
    pending = 0

    def __init__(self, *arguments, **options):
        pass

    def end_study(self, *arguments):
        pass

    def close(self, timeout_s):
        return 7


class Nothing:
    best = None


def test_brackets_in_foreign_text_are_no_markup(capsys, monkeypatch):
    console = Console(width=500)
    session._part(Tracking(), "FAILED", Nothing(), Path("runs[new]"), console)
    printed = capsys.readouterr().out
    assert Tracking.error in printed and Tracking.lost in printed
    assert "--output 'runs[new]'`" in printed

    def failing(*_):
        raise ValueError("[/x]")

    monkeypatch.setattr(session, "write_results_so_far", failing)
    session._keep_results(Nothing(), Path("runs[new]"), console)
    assert "ValueError: [/x]" in capsys.readouterr().out


def test_nor_where_the_record_is_delivered(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "runs[new]"
    folder.mkdir()
    (folder / JOURNAL).touch()
    monkeypatch.setattr(sync, "Tracker", Tracking)
    assert sync.sync(folder, "http://localhost:1", Console(width=500)) == 2
    error = capsys.readouterr().err
    assert Tracking.error in error and f"--output '{folder}'" in error


def test_nor_in_the_names_of_images(tmp_path, pictures, capsys):
    named = tmp_path / "named"
    for kind in ("images", "masks"):
        (named / kind / "a[").mkdir(parents=True)
        for index, file in enumerate(sorted((pictures / kind).iterdir())):
            shutil.copy(file, named / kind / "a[" / f"b]{index // 2}_{index % 2}.png")
    options = ["--images", str(named / "images"), "--masks", str(named / "masks"), "--size", "32"]
    assert cli.main(["init", *options, "--output-file", str(tmp_path / "study.toml")]) == 0
    assert "'a[/b]" in capsys.readouterr().out
