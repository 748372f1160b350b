"""The commands for the folder of a search that has run: look at it, repeat it, deliver it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from kerasloss_search.outbox import JOURNAL
from kerasloss_search.settings.kinds import Folder
from kerasloss_search.settings.wording import Wrong

__all__ = ["add_to"]

Action = Callable[[argparse.Namespace, Console], int]


def add_to(commands: Any) -> None:
    """Adds the commands to the subparsers of a parser."""
    ui = _command(
        commands,
        "ui",
        _ui,
        help="look at every trial in MLflow",
        description="Open the MLflow server for an output folder on 127.0.0.1; Ctrl-C ends it.",
    )
    ui.add_argument("--tracking-uri", metavar="URI", help="MLflow store (the search's last)")
    ui.add_argument("--port", type=_port, default=5000, metavar="PORT", help="port (5000)")

    _command(
        commands,
        "report",
        _report,
        help="write the results as a page to look at",
        description="Write report.html, one page that needs nothing from outside, and its pictures "
        "into the folder report.",
    )

    repeat = _command(
        commands,
        "repeat",
        _repeat,
        help="train the best loss once more and compare",
        description="Train a loss of the final stage once more, from the data, the settings and "
        "the seed of the search, and see whether its numbers come again.",
    )
    repeat.add_argument("--trial", type=int, metavar="N", help="its number (the best loss)")
    repeat.add_argument("--seed", type=int, metavar="N", help="one of its seeds (the first)")
    repeat.add_argument(
        "--own",
        action="append",
        default=[],
        metavar="NAME",
        help="a model, loss or strategy of yours that the search used, as package.module:Name: its "
        "module is executed; as often as needed",
    )

    sync = _command(
        commands,
        "sync",
        _sync,
        help="deliver to MLflow what it has not taken yet",
        description="Deliver the events of a search that MLflow has not taken, because the server "
        "was away or slow. Needs no data; nothing is delivered twice.",
    )
    sync.add_argument("--tracking-uri", metavar="URI", help="store or server (the search's last)")


def _command(commands: Any, name: str, action: Action, **texts: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, **texts)
    # `run` has --output, and that is what a user will write here, too.
    parser.add_argument(
        "folder", nargs="?", type=_folder, metavar="FOLDER", help="folder of the search (results)"
    )
    parser.add_argument("--output", type=_folder, metavar="DIR", help="the same as FOLDER")

    def act(options: argparse.Namespace, console: Console) -> int:
        options.output = _chosen(options.folder, options.output)
        return action(options, console)

    parser.set_defaults(action=act)
    return parser


def _chosen(folder: Path | None, output: Path | None) -> Path:
    """The folder of the search, however it was given."""
    if folder is not None and output is not None and folder.resolve() != output.resolve():
        raise ValueError(
            f"FOLDER and --output: expected one folder, received {folder} and {output}; leave one "
            "away"
        )
    return folder or output or Path("results")


def _ui(options: argparse.Namespace, console: Console) -> int:
    from kerasloss_search import ui

    return ui.serve(options.output, port=options.port, uri=options.tracking_uri)


def _report(options: argparse.Namespace, console: Console) -> int:
    from kerasloss_search.report.write import write_report

    if not (options.output / "results.json").exists():
        raise ValueError(
            f"FOLDER: there are no results in {options.output} yet. Expected the folder of a "
            "search that has ended, or that was stopped with Ctrl-C."
        )
    page = write_report(options.output)[0]
    console.print(f"Written: {page}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _repeat(options: argparse.Namespace, console: Console) -> int:
    from kerasloss_search.repeat import repeat

    return repeat(options.output, options.trial, options.seed, console, options.own)


def _sync(options: argparse.Namespace, console: Console) -> int:
    from kerasloss_search.sync import sync

    if not (options.output / JOURNAL).is_file():
        raise ValueError(
            f"--output: there is no record of a search in {options.output} ({JOURNAL}); name the "
            "folder of a search"
        )
    return sync(options.output, options.tracking_uri, console)


def _folder(text: str) -> Path:
    try:
        folder: Path = Folder().parse(text)
    except Wrong as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None
    return folder


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, received {text!r}")
    return int(text)
