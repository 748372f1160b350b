"""The command line: help that reads well, and one line with exit code 2 for every mistake."""

import re
import sys
import tomllib
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path

import pytest
from fresh_python import printed_by
from kerasloss_search import afterwards, checks, cli, data, session
from kerasloss_search.catalogue import Range
from kerasloss_search.data import DataOptions
from kerasloss_search.driver import SearchError
from kerasloss_search.lock import locked
from kerasloss_search.settings.options import Options
from kerasloss_search.space import Space
from kerasloss_search.synthetic import write_micrographs

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize("command", [[], ["demo"], ["run"], ["init"], ["ui"]])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as end:
        cli.main([*command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "kerasloss-search" in text
    if command in (["run"], ["demo"]):
        for option in ("--trials", "--epochs", "--batch-size", "--seed", "--workers", "--output"):
            assert option in text


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"kerasloss-search {version('kerasloss')}\n"


@pytest.fixture
def asked(monkeypatch):
    """What the search is asked to do, instead of doing it."""
    seen = []
    monkeypatch.setattr(session, "run", lambda options, console: seen.append(options) or 0)
    return seen


def test_help_is_fast():
    """The heavy packages are imported by what needs them."""
    code = "import sys; from kerasloss_search import cli; cli._parser().format_help(); "
    code += "print([name for name in ('keras', 'optuna', 'mlflow', 'matplotlib') "
    code += "if name in sys.modules])"
    assert printed_by(code) == "[]"


LACKING = """
import sys

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Lacking())
sys.argv = ["kerasloss-search", *{arguments!r}]
sys.stderr = sys.stdout
from kerasloss_search.entry import main
print(main())
"""


@pytest.mark.parametrize(
    ("package", "named", "arguments"),
    [
        ("rich", "rich", ["demo"]),
        ("PIL", "pillow", ["demo"]),
        ("optuna", "optuna", ["run", "--images", "a", "--masks", "b"]),
        ("mlflow", "mlflow", ["demo"]),
        ("matplotlib", "matplotlib", ["demo"]),
        ("rich", "rich", ["report", "nowhere"]),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(package, named, arguments, tmp_path):
    code = LACKING.format(package=package, arguments=arguments)
    line, status = printed_by(f"import os; os.chdir({str(tmp_path)!r})\n{code}").splitlines()
    remedy = 'pip install "kerasloss[search,jax]"'
    assert line == f"kerasloss-search: the search needs the package {named}: {remedy}"
    assert status == "2" and not list(tmp_path.iterdir())


def test_the_script_starts_where_missing_packages_are_told():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"kerasloss-search": "kerasloss_search.entry:main"}


def test_options_without_a_file(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "--images", "a", "--masks", "b"]) == 0
    (options,) = asked
    plain = Options(DataOptions(Path("a"), Path("b")), Path("results"))
    assert replace(options, command=plain.command) == plain


def test_every_option_arrives(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["run", "--images", "a", "--mask-pattern", "{stem}_m*", "--classes", "3"]
    given += ["--ignore-value", "9", "--group", "x", "--size", "96", "--validation", "0.3"]
    given += ["--test", "0.1", "--trials", "40", "--time", "1h30min", "--scores", "iou,hd95"]
    given += ["--terms", "dice,focal,own.things:Loss", "--max-terms", "2", "--weights", "0.1,2"]
    given += ["--strategies", "static,relobralo,own.things:Moves", "--auxiliary", "none"]
    given += ["--optimizers", "sgd,adam", "--learning-rate", "1e-5,1e-3", "--no-pruning"]
    given += ["--seed", "7", "--workers", "2", "--trials-per-gpu", "3", "--backend", "torch"]
    given += ["--epochs", "5", "--batch-size", "6", "--crop", "48", "--no-augmentation"]
    given += ["--folds", "4", "--model", "own.nets:net", "--width", "12", "--from-logits"]
    given += ["--model-option", "kind=wide", "--model-option", "rate=0.5", "--final-top", "2"]
    given += ["--final-seeds", "8", "--output", "o", "--tracking-uri", "http://host"]
    given += ["--term-option", "focal.gamma=1,4,log", "--term-option", "dice.pool=batch"]
    given += ["--term-option", "own.things:Loss.alpha=0.1,0.9"]
    cli.main(given)
    space = Space.of(
        ("dice", "focal", "own.things:Loss"),
        {
            "focal": {"gamma": Range(1.0, 4.0, log=True)},
            "dice": {"pool": "batch"},
            "own.things:Loss": {"alpha": Range(0.1, 0.9)},
        },
        max_terms=2,
        weights=Range(0.1, 2.0),
        strategies=("static", "relobralo", "own.things:Moves"),
        auxiliary=None,
        optimizers=("sgd", "adam"),
        learning_rate=Range(1e-5, 1e-3, log=True),
        # The usual one, 0.002, is not in the range.
        usual_learning_rate=pytest.approx(1e-4),
    )
    pictures = DataOptions(Path("a"), None, "{stem}_m*", 3, 96, "x", 7, 0.3, 0.1, 9)
    expected = Options(
        pictures,
        Path("o"),
        space=space,
        trials=40,
        time_s=5400.0,
        scores=("iou", "hd95"),
        pruning=False,
        epochs=5,
        batch_size=6,
        crop=48,
        augment=False,
        folds=4,
        seed=7,
        model="own.nets:net",
        model_options={"width": 12, "kind": "wide", "rate": 0.5},
        from_logits=True,
        final_top=2,
        final_seeds=8,
        workers=2,
        trials_per_gpu=3,
        backend="torch",
        tracking_uri="http://host",
        command=asked[0].command,
    )
    assert asked[0].origins["data.size"] == "--size"
    for field in fields(Options):
        if not field.compare:
            continue
        assert getattr(asked[0], field.name) == getattr(expected, field.name), field.name


def test_values_may_be_written_as_python_or_a_study_file_has_them(asked):
    given = ["run", "--images", "a", "--masks", "b", "--model", "own.nets:net"]
    for text in ("attention=False", "skip=True", "deep=true", "kind='None'", "rate=1e-3", "act=no"):
        given += ["--model-option", text]
    given += ["--learning-rate", "[1e-4, 1e-2]", "--weights", "[0.1,1]"]
    given += ["--term-option", "focal.gamma=[1,4]", "--term-option", "focal.alpha=[0.1, 1, log]"]
    given += ["--term-option", "dice.squared=True"]
    assert cli.main(given) == 0
    (options,) = asked
    expected = {"attention": False, "skip": True, "deep": True, "kind": "None", "rate": 1e-3}
    assert options.model_options == {**expected, "act": "no"}
    assert options.space.learning_rate == Range(1e-4, 1e-2, log=True)
    assert options.space.weights == Range(0.1, 1.0)
    focal = options.space.terms["focal"].ranges
    assert focal == {"gamma": Range(1.0, 4.0), "alpha": Range(0.1, 1.0, log=True)}
    assert options.space.terms["dice"].fixed["squared"] is True


def test_options_override_the_file(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "study.toml").write_text(
        "[data]\nimages = 'pics'\nmasks = '/far/masks'\n[search]\ntrials = 9\nseed = 3\n"
        "[training]\naugmentation = false\n[terms.tversky]\nalpha = 0.4\nbeta = [0.5, 0.6]\n"
    )
    cli.main(
        ["run", "sub/study.toml", "--trials", "12", "--masks", "here", "--augmentation"]
        + ["--term-option", "tversky.alpha=0.2"]
    )
    (options,) = asked
    folder = tmp_path / "sub"
    assert (options.trials, options.seed, options.augment) == (12, 3, True)
    assert options.data.images == folder / "pics", "of a file: from its folder"
    assert options.data.masks == Path("here"), "of an option: from where the command is run"
    assert options.output == folder / "results"
    cli.main(["run", "sub/study.toml", "--output", "there"])
    assert asked[-1].output == Path("there"), "of an option: from where the command is run"
    term = options.space.terms["tversky"]
    assert term.fixed["alpha"] == 0.2 and term.ranges == {"beta": Range(0.5, 0.6)}


def test_the_command_is_kept_without_a_password(asked, monkeypatch):
    given = ["run", "--images", "my images", "--masks", "b"]
    for uri in (["--tracking-uri", "http://me:secret@host"], ["--tracking-uri=http://x:y@host"]):
        monkeypatch.setattr(sys, "argv", ["kerasloss-search", *given, *uri])
        assert cli.main(sys.argv[1:]) == 0
    words = ["kerasloss-search run --images 'my images' --masks b"] * 2
    words[0] += " --tracking-uri 'http://***@host'"
    words[1] += " '--tracking-uri=http://***@host'"
    assert [one.command for one in asked] == words
    assert asked[0].tracking_uri == "http://me:secret@host"


def test_modules_beside_the_study_file_are_found(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "study.toml").write_text("[data]\nimages = 'a'\nmasks = 'b'\n")
    cli.main(["run", str(tmp_path / "study.toml")])
    assert str(tmp_path) not in sys.path, "nothing of the user's is to be imported"
    cli.main(["run", str(tmp_path / "study.toml"), "--model", "nets:net"])
    assert sys.path[:2] == [str(tmp_path), ""]


def test_time_alone_means_no_limit_of_trials(asked):
    cli.main(["run", "--images", "a", "--masks", "b", "--time", "2h"])
    cli.main(["run", "--images", "a", "--masks", "b", "--time", "2h", "--trials", "7"])
    assert [(one.time_s, one.trials) for one in asked] == [(7200.0, None), (7200.0, 7)]


def test_the_demo_has_its_own_defaults(asked, tmp_path):
    output = tmp_path / "d"
    cli.main(["demo", "--images", "12", "--output", str(output), "--trials", "6", "--seed", "2"])
    (options,) = asked
    assert (options.trials, options.batch_size, options.data.size) == (6, 4, 64)
    assert options.model_options == {"width": 8, "depth": 3}
    assert options.data.images == output / "micrographs-12-64-0.05-2" / "images"
    assert len(list(options.data.images.iterdir())) == 12


@pytest.mark.parametrize(("images", "shares"), [(9, []), (22, []), (48, ["--test", "0.3"])])
def test_the_demo_knows_its_pictures_beforehand(asked, tmp_path, capsys, images, shares):
    """What is checked before they are made holds for those that are made then."""
    command = ["demo", "--images", str(images), "--size", "16", *shares]
    command += ["--output", str(tmp_path)]
    code, error = failing(capsys, *command, "--folds", "99")
    most = re.search(r"at most (\d+), the number of micrographs", error).group(1)
    assert code == 2 and not list(tmp_path.iterdir())
    assert failing(capsys, *command, "--folds", most) == (0, "")
    dataset = data.load(asked[0].data)
    checks.check_data(asked[0], dataset)
    with pytest.raises(SearchError, match=f"at most {most}, the number of groups"):
        checks.check_data(replace(asked[0], folds=int(most) + 1), dataset)


def test_init_writes_what_it_finds(tmp_path, pictures, monkeypatch, asked, capsys):
    monkeypatch.chdir(tmp_path)
    images, masks = str(pictures / "images"), str(pictures / "masks")
    assert cli.main(["init", "--images", images, "--masks", masks, "--size", "32"]) == 0
    text = (tmp_path / "study.toml").read_text()
    assert "12 grey images at 32 px, 2 classes" in text and "% foreground" in text
    assert "# group = '(.+)[_-]'" in text, "names that look like tiles"
    assert "study.toml" in capsys.readouterr().out
    assert cli.main(["run", "study.toml"]) == 0
    found = asked[0].data
    assert found.images.samefile(images) and found.masks.samefile(masks) and found.size == 32


@pytest.mark.parametrize("own", [[], ["--model", "own.nets:net", "--model-option", "wide='8'"]])
def test_init_writes_the_options_of_terms_and_model(tmp_path, monkeypatch, asked, own):
    given = ["--terms", "dice,focal,own.things:Loss", "--term-option", "focal.gamma=1e-9,4,log"]
    given += ["--term-option", "dice.pool=batch", "--term-option", "dice.squared=True"]
    given += ["--term-option", "own.things:Loss.größe=[0.1,0.9]", "--model-option", "width=8"]
    given += ["--learning-rate", "0.000123456789,0.01"]
    given += own
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert cli.main(["init", *given]) == 0
    folders = ["--images", "a", "--masks", "b", "--output", "o"]
    assert cli.main(["run", "study.toml", *folders]) == 0
    assert cli.main(["run", *given, *folders]) == 0
    assert replace(asked[0], command=asked[1].command) == asked[1]
    assert asked[0].model_options["width"] == 8


def test_init_replaces_a_file_only_by_force(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text("mine")
    assert cli.main(["init"]) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "study.toml").read_text() == "mine"
    assert cli.main(["init", "--force"]) == 0
    assert (tmp_path / "study.toml").read_text() != "mine"


def test_ui_without_a_search(capsys, tmp_path):
    code, error = failing(capsys, "ui", "--output", tmp_path)
    assert code == 2
    assert "no mlflow.db" in error and "Run a search" in error


@pytest.mark.parametrize("command", ["ui", "report", "repeat", "sync"])
def test_a_folder_may_be_given_either_way(command, monkeypatch, tmp_path):
    seen = []
    asked = lambda options, _: seen.append(options.output) or 0  # noqa: E731
    monkeypatch.setattr(afterwards, f"_{command}", asked)
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["a"], ["--output", "a"], ["a", "--output", "./a/"]):
        assert cli.main([command, *arguments]) == 0
    assert seen == [Path("results"), Path("a"), Path("a"), Path("a")]


def test_a_second_search_on_one_folder_is_refused(capsys, tmp_path, pictures):
    arguments = ["run", "--images", pictures / "images", "--masks", pictures / "masks"]
    with locked(tmp_path):
        code, error = failing(capsys, *arguments, "--size", 32, "--trials", 6, "--output", tmp_path)
    assert code == 2
    assert "another search" in error
