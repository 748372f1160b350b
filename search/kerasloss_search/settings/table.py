"""Every setting of a search in one table; options, study file, `init` and docs follow from it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasloss_search.catalogue import AUXILIARY, TERMS, Range
from kerasloss_search.scores import SCORES
from kerasloss_search.settings.kinds import (
    Duration,
    Flag,
    Folder,
    Kind,
    Limits,
    Names,
    Number,
    Text,
    Whole,
    Word,
)
from kerasloss_search.settings.wording import Wrong
from kerasloss_search.space import OPTIMIZERS, OWN_STEP, STRATEGIES

__all__ = [
    "SECTIONS",
    "SETTINGS",
    "Setting",
    "add_options",
    "find",
    "label",
    "reference_table",
    "sections",
]

SECTIONS: dict[str, str] = {
    "data": "Where the images are and how they are read and divided.",
    "search": "What is searched, how long, and by what it is judged.",
    "training": "How every trial is trained.",
    "model": "The network. Further keys are arguments of the model's function.",
    "final": "The retraining in the end, on which the verdict rests.",
    "output": "Where everything is written.",
    "tracking": "Where MLflow keeps its record.",
}
"""Section -> what it is about; `[terms.NAME]` has keys of its own."""


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Attributes:
        section: of the study file.
        key: in that section.
        kind: what it may be.
        default: value where nothing is said; None for none.
        help: one line.
        option: on the command line.
        example: how it is written in a study file, where there is no default to show.
        unset: what holds without it, in words, where there is no default.
        only: name of the model that has it, for arguments of a model's function.
    """

    section: str
    key: str
    kind: Kind
    default: Any
    help: str
    option: str
    example: str = ""
    unset: str = ""
    only: str | None = None

    @property
    def path(self) -> str:
        """Section and key: what a value is stored under."""
        return f"{self.section}.{self.key}"

    @property
    def written(self) -> str:
        """The default as it stands in a study file, else the example."""
        return self.example if self.default is None else self.kind.toml(self.default)

    @property
    def otherwise(self) -> str:
        """What holds where nothing is said, in words."""
        return self.unset if self.default is None else self.kind.toml(self.default)


def _regex(text: str) -> str | None:
    try:
        re.compile(text)
    except re.error as problem:
        return str(problem)
    return None


def _pattern(text: str) -> str | None:
    return None if "{stem}" in text else "it has to contain {stem}"


def _model(text: str) -> str | None:
    module, _, function = text.partition(":")
    if text == "unet" or (module and function):
        return None
    return "the module and the function are divided by a colon"


def _row(
    section: str, key: str, kind: Kind, default: Any, text: str, option: str = "", **more: Any
) -> Setting:
    return Setting(section, key, kind, default, text, option or f"--{key}", **more)


_REGEX = Text("a regular expression", "REGEX", _regex)
_MODEL = Text("`unet` or `package.module:function`", "NAME", _model)
_USUAL = tuple(name for name, term in TERMS.items() if term.usually)
_MORE = ", ".join(name for name in TERMS if name not in _USUAL)

# fmt: off
# One row a setting: the formatter would make a page of each.
SETTINGS: tuple[Setting, ...] = (
    _row(
        "data", "images", Folder(), None,
        "folder of the images",
        example='"images"', unset="needed",
    ),
    _row(
        "data", "masks", Folder(), None,
        "folder of the masks, which have the stems of the images",
        example='"masks"', unset="they lie beside the images",
    ),
    _row(
        "data", "mask-pattern", Text("the names of masks", "PATTERN", _pattern), None,
        "names of the masks of an image, as '{stem}_mask*'; several are united",
        example='"{stem}_mask*"', unset="equal stems",
    ),
    _row(
        "data", "classes", Whole(2, 255), 2,
        "classes, background included; masks of more than 2 hold 0 to N-1",
    ),
    _row(
        "data", "ignore-value", Whole(0), None,
        "mask value of pixels to leave out",
        example="255", unset="none",
    ),
    _row(
        "data", "group", _REGEX, None,
        "what in a name tells which images belong together, such as tiles of one micrograph; "
        "they stay in one part of the split",
        example=r"'(.*)_\d+'", unset="every image on its own",
    ),
    _row(
        "data", "size", Whole(1, 8192), 128,
        "side in px of the squares that images are resized to",
    ),
    _row("data", "validation", Number(0, 1), 0.2, "share of the images that judges trials"),
    _row("data", "test", Number(0, 1), 0.2, "share of the images that judges the result"),
    _row(
        "search", "trials", Whole(), 30,
        "trials, the plain losses and those of earlier sessions included; the final trainings "
        "come on top; no limit where only a time is given",
    ),
    _row(
        "search", "time", Duration(), None,
        "no trial starts after so long, all sessions added up: 90min, 2h, 1d; the final "
        "trainings come on top",
        example='"2h"', unset="no limit",
    ),
    _row(
        "search", "scores", Names(tuple(SCORES)), ("dice",),
        "what trials are judged by; several: a search for the best compromises",
    ),
    _row(
        "search", "terms", Names(tuple(TERMS), dotted=True, fewest=2), _USUAL,
        f"losses to choose from, your own as package.module:Name; more: {_MORE}",
    ),
    _row("search", "max-terms", Whole(), 3, "how many of them at once"),
    _row(
        "search", "weights", Limits(), Range(0.05, 1.0),
        "range of a term's share, before the shares are divided by their sum",
    ),
    _row(
        "search", "strategies", Names(STRATEGIES, dotted=True), ("static", "var", "mad", "bayes"),
        "how the weights move, `static` among them; your own as package.module:Name; more: "
        + ", ".join(OWN_STEP),
    ),
    _row(
        "search", "auxiliary", Word(tuple(TERMS), optional=True), AUXILIARY,
        "term that may be added and fades away; false (--auxiliary none) for none",
    ),
    _row(
        "search", "optimizers", Names(OPTIMIZERS), ("adam",),
        f"optimisers to choose from: {', '.join(OPTIMIZERS)}",
    ),
    _row(
        "search", "learning-rate", Limits(log=True), Range(3e-4, 1e-2, log=True),
        "range of the learning rate; the plain losses have 0.002, or the (geometric) middle of "
        "a range without it",
    ),
    _row("search", "pruning", Flag(), True, "stop trials that fall behind their loss family"),
    _row("search", "seed", Whole(0, 2**31 - 1), 0, "seed of everything that is random"),
    _row(
        "search", "workers", Whole(1, 256), None,
        "processes that train at the same time",
        example="1", unset="one per GPU, or one",
    ),
    _row("search", "trials-per-gpu", Whole(1, 64), 1, "trials that share a GPU"),
    _row(
        "search", "backend", Word(("tensorflow", "jax", "torch")), None,
        "Keras backend",
        example='"jax"',
        unset="KERAS_BACKEND, else the study's own, keras.json, or the first that is installed",
    ),
    _row("training", "epochs", Whole(), 20, "epochs of a trial"),
    _row("training", "batch-size", Whole(), 8, "images in a step"),
    _row(
        "training", "crop", Whole(), None,
        "train on random windows of so many px",
        example="64", unset="whole images",
    ),
    _row(
        "training", "augmentation", Flag(), True,
        "turn and mirror training images, and vary their brightness and contrast",
    ),
    _row(
        "training", "folds", Whole(), 1,
        "folds of cross-validation that every trial is trained on; 1: the one split",
    ),
    _row(
        "model", "name", _MODEL, "unet",
        "unet, or package.module:function, called as function((height, width, channels), "
        "output_channels)",
        "--model",
    ),
    _row("model", "width", Whole(), 16, "filters of the U-Net's first level", only="unet"),
    _row(
        "model", "depth", Whole(1, 8), 3,
        "how often the U-Net halves the resolution", only="unet",
    ),
    _row("model", "from-logits", Flag(), False, "the model returns logits, not probabilities"),
    _row(
        "final", "top", Whole(), 3,
        "how many of the best searched losses are trained anew, with all plain ones",
        "--final-top",
    ),
    _row("final", "seeds", Whole(), 5, "how often, each time from other weights", "--final-seeds"),
    _row(
        "output", "folder", Folder(), Path("results"),
        "output folder; going on needs the same",
        "--output",
    ),
    _row(
        "tracking", "uri", Text("the URI of an MLflow store or server", "URI"), None,
        "MLflow store or server",
        "--tracking-uri", example='"sqlite:///runs.db"', unset="a database in the output folder",
    ),
)
# fmt: on

_BY_PATH = {setting.path: setting for setting in SETTINGS}


def find(path: str) -> Setting:
    """The setting of a path, `section.key`."""
    return _BY_PATH[path]


def label(path: str) -> str:
    """How a message names a setting that may have come by file or by option."""
    setting = find(path)
    return f"{setting.option} ([{setting.section}] {setting.key})"


def sections() -> dict[str, tuple[Setting, ...]]:
    """Section -> its settings, in their order."""
    return {
        section: tuple(setting for setting in SETTINGS if setting.section == section)
        for section in SECTIONS
    }


def add_options(
    parser: argparse.ArgumentParser,
    *,
    without: Iterable[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Gives a parser an option for every setting; what is not given stays out of the namespace.

    Args:
        parser: gets the options, whose values are stored under the paths of their settings.
        without: paths of settings to leave out.
        defaults: path -> default to name in the help instead of the usual one.
    """
    left_out, changed = frozenset(without), defaults or {}
    for section, rows in sections().items():
        group = parser.add_argument_group(section)
        for setting in rows:
            if setting.path in left_out:
                continue
            default = changed.get(setting.path, setting.default)
            otherwise = setting.unset if default is None else setting.kind.shell(default)
            text = f"{setting.help} ({otherwise})".replace("%", "%%")
            if isinstance(setting.kind, Flag):
                group.add_argument(
                    setting.option,
                    dest=setting.path,
                    default=argparse.SUPPRESS,
                    help=text,
                    action=argparse.BooleanOptionalAction,
                )
                continue
            group.add_argument(
                setting.option,
                dest=setting.path,
                default=argparse.SUPPRESS,
                help=text,
                type=_reader(setting.kind),
                metavar=setting.kind.metavar,
            )


def _reader(kind: Kind) -> Any:
    def read(text: str) -> Any:
        try:
            return kind.parse(text)
        except Wrong as problem:
            raise argparse.ArgumentTypeError(str(problem)) from None

    return read


def reference_table() -> str:
    """All settings as Markdown, for the documentation."""
    lines = []
    for section, rows in sections().items():
        lines += [f"### `[{section}]`", "", SECTIONS[section], ""]
        lines += ["| key | option | what | default |", "|---|---|---|---|"]
        for setting in rows:
            default = setting.otherwise if setting.default is None else f"`{setting.otherwise}`"
            option = setting.option
            if isinstance(setting.kind, Flag):
                option += f"`, `--no-{setting.option[2:]}"
            cells = (f"`{setting.key}`", f"`{option}`", setting.help, default)
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference_table())
