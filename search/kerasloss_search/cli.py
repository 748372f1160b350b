"""The command line: arguments to functions, mistakes to one line."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from kerasloss_search.data import DataError, DataOptions

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code: 0, 2 for a mistake of the user, 130 for Ctrl-C."""
    parser = _parser()
    options = parser.parse_args(arguments)
    console = Console()
    try:
        return int(options.action(options, console))
    except KeyboardInterrupt:
        return 130
    except Exception as problem:
        if not _expected(problem):
            raise
        print(f"kerasloss-search: {problem}", file=sys.stderr)
        return 2


def _expected(problem: Exception) -> bool:
    """Whether a problem is one that the user can mend, and that says how."""
    from kerasloss_search.driver import SearchError

    return isinstance(problem, (DataError, SearchError, ValueError, OSError, ModuleNotFoundError))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kerasloss-search",
        description="Find the segmentation loss that suits your images.",
        epilog="Start with `kerasloss-search demo`, which needs no data.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="search on synthetic micrographs, in a few minutes",
        description="Make a small set of synthetic micrographs (gas bubbles in a metal, with "
        "blur, noise and uneven light) and search the best loss for them.",
    )
    demo.add_argument("--images", type=_positive, default=48, metavar="N", help="how many (48)")
    demo.add_argument(
        "--foreground",
        type=_share,
        default=0.05,
        metavar="SHARE",
        help="mean share of bubble pixels, 0.005 to 0.5 (0.05)",
    )
    _training(demo, trials=12, epochs=20, size=64, width=8, batch_size=4)
    demo.add_argument(
        "--output", type=Path, default=Path("demo"), metavar="DIR", help="output folder (demo)"
    )
    demo.set_defaults(action=_demo)

    run = commands.add_parser(
        "run",
        help="search on your own images",
        description="Search the best loss for a folder of images and a folder of masks. Stop it "
        "with Ctrl-C; the same command goes on where it stopped.",
    )
    source = run.add_argument_group("data")
    source.add_argument("--images", type=Path, required=True, metavar="DIR", help="the images")
    source.add_argument(
        "--masks", type=Path, metavar="DIR", help="the masks, with the stems of the images"
    )
    source.add_argument(
        "--mask-pattern",
        metavar="PATTERN",
        help="instead of --masks: names of the masks beside each image, as '{stem}_mask*'; "
        "several masks of one image are united",
    )
    source.add_argument(
        "--classes",
        type=_positive,
        default=2,
        metavar="N",
        help="number of classes, background included; more than 2: masks hold 0 to N-1 (2)",
    )
    source.add_argument(
        "--ignore-value", type=int, metavar="V", help="mask value of pixels to leave out"
    )
    source.add_argument(
        "--group",
        metavar="REGEX",
        help="what in a name tells which images belong together, such as tiles of one "
        "micrograph; they stay in one part of the split",
    )
    _training(run, trials=30, epochs=20, size=128, width=16, batch_size=8)
    run.add_argument(
        "--output",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="output folder; going on needs the same (results)",
    )
    run.set_defaults(action=_run)

    ui = commands.add_parser(
        "ui",
        help="look at every trial in MLflow",
        description="Open the MLflow server for an output folder on 127.0.0.1; Ctrl-C ends it.",
    )
    ui.add_argument(
        "--output",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="output folder (results)",
    )
    ui.add_argument("--port", type=_positive, default=5000, metavar="PORT", help="port (5000)")
    ui.set_defaults(action=_ui)
    return parser


def _training(
    parser: argparse.ArgumentParser,
    *,
    trials: int,
    epochs: int,
    size: int,
    width: int,
    batch_size: int,
) -> None:
    """The options that every search has."""
    training = parser.add_argument_group("training")
    _count(training, "--size", size, f"images are brought to PX x PX pixels ({size})", "PX")
    training.add_argument(
        "--crop", type=_positive, metavar="PX", help="train on random windows of PX x PX pixels"
    )
    _count(training, "--epochs", epochs, f"epochs a trial ({epochs})")
    _count(training, "--batch-size", batch_size, f"images a step ({batch_size})")
    training.add_argument(
        "--no-augmentation", action="store_true", help="train on the images as they are"
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default="unet",
        metavar="NAME",
        help="unet, or package.module:function called as function((height, width, channels), "
        "output_channels) (unet)",
    )
    _count(model, "--width", width, f"filters of the U-Net's first level ({width})")
    _count(model, "--depth", 3, "levels of the U-Net (3)")
    model.add_argument(
        "--from-logits", action="store_true", help="the model returns logits, not probabilities"
    )
    search = parser.add_argument_group("search")
    _count(
        search,
        "--trials",
        trials,
        f"trainings in all, the plain losses and earlier sessions included ({trials})",
    )
    search.add_argument(
        "--terms", metavar="LOSS,...", help="losses to choose from (all); see the documentation"
    )
    _count(search, "--workers", 1, "processes that train at the same time (1)")
    search.add_argument(
        "--seed", type=_natural, default=0, metavar="N", help="of everything random (0)"
    )
    search.add_argument(
        "--backend",
        choices=("tensorflow", "jax", "torch"),
        help="Keras backend (what Keras is set to)",
    )
    search.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="MLflow store or server (a database in the output folder)",
    )


def _count(
    group: argparse._ArgumentGroup, name: str, default: int, text: str, metavar: str = "N"
) -> None:
    group.add_argument(name, type=_positive, default=default, metavar=metavar, help=text)


def _demo(options: argparse.Namespace, console: Console) -> int:
    from kerasloss_search.synthetic import write_micrographs

    # The pictures depend on these numbers; others must not be mixed in.
    name = f"micrographs-{options.images}-{options.size}-{options.foreground:g}-{options.seed}"
    folder = options.output / name
    if not folder.exists():
        partial = folder.with_name(f"{name}.part")
        write_micrographs(
            partial,
            count=options.images,
            size=options.size,
            foreground=options.foreground,
            seed=options.seed,
        )
        partial.rename(folder)
    options.images, options.masks = folder / "images", folder / "masks"
    options.mask_pattern, options.classes, options.ignore_value = None, 2, None
    options.group = r"micrograph_\d+"
    return _run(options, console)


def _run(options: argparse.Namespace, console: Console) -> int:
    from kerasloss_search import session

    if options.model != "unet" and "" not in sys.path:
        # A console script does not look in the current folder, where a user's own model is.
        sys.path.insert(0, "")
    terms = tuple(part.strip() for part in (options.terms or "").split(",") if part.strip())
    wanted = session.Options(
        data=DataOptions(
            images=options.images,
            masks=options.masks,
            mask_pattern=options.mask_pattern,
            classes=options.classes,
            size=options.size,
            group=options.group,
            seed=options.seed,
            ignore_value=options.ignore_value,
        ),
        output=options.output,
        trials=options.trials,
        epochs=options.epochs,
        batch_size=options.batch_size,
        workers=options.workers,
        seed=options.seed,
        backend=options.backend,
        model=options.model,
        width=options.width,
        depth=options.depth,
        from_logits=options.from_logits,
        crop=options.crop,
        augment=not options.no_augmentation,
        terms=terms,
        tracking_uri=options.tracking_uri,
        command=shlex.join(["kerasloss-search", *sys.argv[1:]]),
    )
    return session.run(wanted, console)


def _ui(options: argparse.Namespace, console: Console) -> int:
    from kerasloss_search import ui

    return ui.serve(options.output, port=options.port)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number >= 0, not {text!r}")
    return int(text)


def _positive(text: str) -> int:
    number = _natural(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, not {text!r}")
    return number


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.005 <= share <= 0.5:
        raise argparse.ArgumentTypeError(f"expected a share from 0.005 to 0.5, not {text!r}")
    return share
