"""The command line: arguments to functions, mistakes to one line."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console

from kerasloss_search import afterwards
from kerasloss_search.data import DataError
from kerasloss_search.lock import locked
from kerasloss_search.outbox import without_password
from kerasloss_search.settings import assembly, study_file
from kerasloss_search.settings.options import Options
from kerasloss_search.settings.parser import Parser
from kerasloss_search.settings.study_file import Given, StudyFileError
from kerasloss_search.settings.table import add_options, find
from kerasloss_search.trouble import explain

__all__ = ["main"]

# The demo is small, and its data are its own.
_DEMO: dict[str, Any] = {
    "data.size": 64,
    "search.trials": 14,
    "training.batch-size": 4,
    "model.width": 8,
    "final.top": 1,
    "final.seeds": 2,
    "output.folder": Path("demo"),
}
_DEMO_DATA = (
    "data.images",
    "data.masks",
    "data.mask-pattern",
    "data.classes",
    "data.ignore-value",
    "data.group",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code: 0, 2 for a mistake of the user, 130 for Ctrl-C."""
    options = _parser().parse_command(arguments)
    console = Console()
    try:
        return int(options.action(options, console))
    except KeyboardInterrupt:
        print("kerasloss-search: stopped. The same command goes on.", file=sys.stderr)
        return 130
    except Exception as problem:
        line = _told(problem) or explain(problem, _folder(options))
        line = line or (str(problem) if _expected(problem) else None)
        if not line:
            raise
        # What begins with file and line is left alone, so that editors find the place.
        file = getattr(options, "study", None)
        placed = isinstance(problem, StudyFileError) or line.startswith(f"{file}:")
        print(line if placed else f"kerasloss-search: {line}", file=sys.stderr)
        return 2


def _expected(problem: Exception) -> bool:
    """Whether a problem is one that the user can mend, and that says how."""
    # A package that is missing is told by the entry, which knows where it comes from.
    if isinstance(problem, ModuleNotFoundError):
        return not problem.name
    # Before anything heavy: mistakes in a file or an option are these.
    if isinstance(problem, (DataError, ValueError, OSError)):
        return True
    from kerasloss_search.driver import SearchError

    return isinstance(problem, SearchError)


def _parser() -> Parser:
    parser = Parser(
        prog="kerasloss-search",
        description="Find the segmentation loss that suits your images.",
        epilog="Start with `kerasloss-search demo`, which needs no data.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {_version()}", help="tell the version"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="search on synthetic micrographs, in a few minutes",
        description="Make a small set of synthetic micrographs (gas bubbles in a metal, with "
        "blur, noise and uneven light) and search the best loss for them.",
    )
    demo.add_argument(
        "--images", type=_positive, default=48, metavar="N", help="how many, 9 or more (48)"
    )
    demo.add_argument(
        "--foreground",
        type=_share,
        default=0.05,
        metavar="SHARE",
        help="mean share of bubble pixels, 0.005 to 0.5 (0.05)",
    )
    add_options(demo, without=_DEMO_DATA, defaults=_DEMO)
    _add_free_options(demo)
    demo.set_defaults(action=_demo)

    run = commands.add_parser(
        "run",
        help="search on your own images",
        description="Search the best loss for a folder of images and a folder of masks. Stop it "
        "with Ctrl-C; the same command goes on where it stopped.",
    )
    run.add_argument(
        "study",
        nargs="?",
        type=Path,
        metavar="STUDY.toml",
        help="a study file, as `init` writes it; options say it differently for once",
    )
    add_options(run)
    _add_free_options(run)
    run.set_defaults(action=_run)

    init = commands.add_parser(
        "init",
        help="write a study file for your images, to be edited",
        description="Look at the images and write a study file in which every setting stands "
        "with a comment; those that are given as options are filled in.",
    )
    init.add_argument(
        "--output-file",
        type=Path,
        default=Path("study.toml"),
        metavar="FILE",
        help="the file to write (study.toml)",
    )
    init.add_argument("--force", action="store_true", help="replace a file that exists")
    add_options(init)
    _add_free_options(init)
    init.set_defaults(action=_init)

    afterwards.add_to(commands)
    return parser


def _version() -> str:
    try:
        return version("kerasloss")
    except PackageNotFoundError:
        return "of a copy that is not installed"


def _add_free_options(parser: argparse.ArgumentParser) -> None:
    """The options whose names depend on the terms and on the model."""
    group = parser.add_argument_group("options of terms and model, as often as needed")
    group.add_argument(
        "--term-option",
        action="append",
        default=[],
        metavar="TERM.OPTION=VALUE",
        help="range of a term's number, as focal.gamma=1,4 (with ,log for a logarithmic one), or a "
        "value to keep",
    )
    group.add_argument(
        "--model-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="argument of your model's function",
    )


def _given(options: argparse.Namespace) -> Given:
    """What the command line says; settings are stored under their paths, which have a dot."""
    values = {path: value for path, value in vars(options).items() if "." in path}
    output = values.get("output.folder")
    if output is not None and output.suffix == ".toml" and not output.is_dir():
        # It would be made, and the study file that is meant be written or looked for elsewhere.
        raise ValueError(
            f"--output: expected the folder for the results, received the study file {output}; "
            f"write it with `init --output-file {output}`, run it with `run {output}`"
        )
    return assembly.given_by_options(
        values, getattr(options, "term_option", ()), getattr(options, "model_option", ())
    )


def _demo(options: argparse.Namespace, console: Console) -> int:
    from kerasloss_search import checks, session
    from kerasloss_search.synthetic import write_micrographs

    given = _given(options)
    output = Path(given.values.get("output.folder", _DEMO["output.folder"]))
    size = given.values.get("data.size", _DEMO["data.size"])
    seed = given.values.get("search.seed", find("search.seed").default)
    # The pictures depend on these numbers; others must not be mixed in.
    name = f"micrographs-{options.images}-{size}-{options.foreground:g}-{seed}"
    folder = output / name
    own = {
        "data.images": folder / "images",
        "data.masks": folder / "masks",
        "data.group": r"micrograph_\d+",
    }
    wanted = _assembled(replace(given, values={**given.values, **own}), _DEMO)
    checks.check(wanted, session.choose_backend(wanted.backend, output))
    checks.check_demo(wanted, options.images)
    output.mkdir(parents=True, exist_ok=True)
    with locked(output):
        if not folder.exists():
            partial = folder.with_name(f"{name}.part")
            write_micrographs(
                partial, count=options.images, size=size, foreground=options.foreground, seed=seed
            )
            partial.rename(folder)
    return _search(wanted, console)


def _run(options: argparse.Namespace, console: Console) -> int:
    given = _given(options)
    if options.study is not None:
        given = _study(options.study).overridden(given)
    return _search(_assembled(given), console)


def _study(path: Path) -> Given:
    try:
        return study_file.read(path)
    except StudyFileError as problem:
        if path.suffix == ".toml" or path.is_file():
            raise
        # Most likely the second word of a list, or the value of a flag.
        raise ValueError(
            f"STUDY.toml: {str(problem).partition(';')[0].replace(': ', ' ', 1)}; lists are "
            "written with commas (dice,hd95), flags as --no-pruning"
        ) from None


def _assembled(given: Given, defaults: Mapping[str, Any] | None = None) -> Options:
    # It is written into results and report, which are shown to others.
    command = shlex.join(["kerasloss-search", *map(without_password, sys.argv[1:])])
    options = assembly.options_of(given, command=command, defaults=defaults)
    # A console script does not look in the current folder, where a user's own modules are.
    folders = [] if given.base is None else [str(given.base)]
    assembly.look_for_own(options.space, options.model, *folders, "")
    return options


def _search(options: Options, console: Console) -> int:
    from kerasloss_search import session

    return session.run(options, console)


def _init(options: argparse.Namespace, console: Console) -> int:
    from kerasloss_search import data
    from kerasloss_search.settings import template

    file: Path = options.output_file
    if file.is_dir():
        raise ValueError(f"--output-file: {file} is a folder; give the name of a file in it")
    if file.exists() and not options.force:
        raise ValueError(f"--output-file: {file} exists; give --force to replace it, or another")
    if not file.parent.is_dir():
        raise ValueError(f"--output-file: there is no folder {file.parent}; make it first")
    given = _given(options)
    dataset = None
    # Without them nothing is read, and the other settings are still held against each other.
    folders = {"data.images": Path("images"), "data.masks": Path("masks")}
    known = given if "data.images" in given.values else given.overridden(Given(folders))
    wanted = assembly.options_of(known)
    if "data.images" in given.values:
        with console.status("Reading the images"):
            dataset = data.load(wanted.data)
        console.print(dataset.summary(), highlight=False, markup=False)
    values = {
        path: template.relative(value, file.parent) if isinstance(value, Path) else value
        for path, value in given.values.items()
    }
    file.write_text(
        template.render(values, dataset, given.terms, given.model_options), encoding="utf-8"
    )
    console.print(
        f"Wrote {file}. Edit it, then: {shlex.join(['kerasloss-search', 'run', str(file)])}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    return 0


def _told(problem: Exception) -> str | None:
    """What a problem says that was understood where it arose, whatever caused it."""
    if isinstance(problem, (DataError, StudyFileError)):
        return str(problem)
    # These two import Optuna; where that has not happened, nothing has raised them.
    for module, name in (("driver", "SearchError"), ("study", "StudyError")):
        known = sys.modules.get(f"kerasloss_search.{module}")
        if known is not None and isinstance(problem, getattr(known, name)):
            return str(problem)
    return None


def _folder(options: argparse.Namespace) -> Path:
    """The output folder that a command was given; its usual place where that is not known yet."""
    given = vars(options)
    return Path(given.get("output") or given.get("output.folder") or _DEMO["output.folder"])


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, received {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.005 <= share <= 0.5:
        raise argparse.ArgumentTypeError(f"expected a share from 0.005 to 0.5, received {text!r}")
    return share
