"""The study file that `kerasloss-search init` writes: every setting, with what the data say."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerasloss_search.catalogue import Range
from kerasloss_search.dataset import Dataset
from kerasloss_search.settings.table import SECTIONS, sections
from kerasloss_search.settings.wording import quoted, written

__all__ = ["relative", "render"]

_NEEDED = ("data.images",)

_TERMS = """\
# Where the search looks for the numbers of a loss. A single value is kept as it is.
# [terms.focal]
# gamma = [1.0, 4.0]
#
# [terms.weighted_cross_entropy]
# positive_weight = {low = 2.0, high = 50.0, log = true}
#
# Your own loss, a subclass of kerasloss.losses.SegmentationLoss, under its dotted name:
# [terms."package.module:Name"]
# alpha = [0.1, 0.9]
"""


def render(
    values: Mapping[str, Any],
    dataset: Dataset | None,
    terms: Mapping[str, Mapping[str, Any]] | None = None,
    model_options: Mapping[str, Any] | None = None,
) -> str:
    """The text of a study file.

    Args:
        values: path of a setting -> checked value that the user has given; all others stand there
            as comments, with their defaults.
        dataset: what lies in the folders, or None if nobody looked.
        terms: term -> option -> range or value that the user has given.
        model_options: arguments of the model's function that the user has given.
    """
    own = dict(model_options or {})
    parts = ["# What kerasloss-search is to do. Run it with: kerasloss-search run <this file>"]
    parts += ["# Paths start at the folder of this file. Lines with # in front show the defaults."]
    suggested: dict[str, str] = {}
    if dataset is not None and (hint := re.search(r"--group ('[^']+')", dataset.summary())):
        suggested["data.group"] = hint.group(1)
    for section, rows in sections().items():
        parts += ["", f"# {SECTIONS[section]}", f"[{section}]"]
        if section == "data" and dataset is not None:
            parts += _found(dataset)
        for setting in rows:
            parts += _comment(setting.help)
            example = suggested.get(setting.path, setting.written)
            if section == "model" and setting.only is not None and setting.key in own:
                # An own model may take any value under the name of one of the U-Net's.
                parts.append(f"{setting.key} = {written(own.pop(setting.key))}")
            elif setting.path in values:
                parts.append(f"{setting.key} = {setting.kind.toml(values[setting.path])}")
            else:
                otherwise = f"  # without it: {setting.unset}" if setting.unset else ""
                otherwise = "  # needed" if setting.path in _NEEDED else otherwise
                parts.append(f"# {setting.key} = {example}{otherwise}")
        if section == "search":
            parts += ["", _TERMS.rstrip(), *_given_terms(terms or {})]
        if section == "model":
            parts += [f"{_key(key)} = {written(value)}" for key, value in own.items()]
    return "\n".join(parts) + "\n"


def _given_terms(terms: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for term, options in terms.items():
        lines += ["", f"[terms.{_key(term)}]"]
        for option, value in options.items():
            if isinstance(value, Range):
                text = f"[{value.low!r}, {value.high!r}]"
                if value.log:
                    text = f"{{low = {value.low!r}, high = {value.high!r}, log = true}}"
            else:
                text = written(value)
            lines.append(f"{_key(option)} = {text}")
    return lines


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quoted(name)


def relative(path: Path, folder: Path) -> Path:
    """A path as seen from a folder, for as long as it does not leave the folder's parent."""
    target, start = path.resolve(), folder.resolve()
    if target.is_relative_to(start):
        return target.relative_to(start)
    if target.is_relative_to(start.parent) and start.parent != Path(start.anchor):
        return Path("..") / target.relative_to(start.parent)
    return target


def _found(dataset: Dataset) -> list[str]:
    """What the data set is like, and what that suggests."""
    lines = []
    for line in dataset.summary().splitlines():
        lines += _comment(line)
    return lines


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 98, initial_indent="# ", subsequent_indent="# ")
