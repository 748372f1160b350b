"""A study file: TOML to checked settings, and every mistake in it with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kerasloss_search.catalogue import TERMS, Range
from kerasloss_search.settings.accepted import checked_option
from kerasloss_search.settings.table import SECTIONS, SETTINGS, sections
from kerasloss_search.settings.wording import Wrong, nearest
from kerasloss_search.space import is_dotted

__all__ = ["Given", "StudyFileError", "read", "read_mapping"]

Value = Range | float | str | bool
Where = Callable[..., str]
_PER_MODEL = {setting.key: setting for setting in SETTINGS if setting.only is not None}


class StudyFileError(ValueError):
    """A description of a study that cannot be used.

    Attributes:
        problems: one line each: file and line, setting, what was expected and what came.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Given:
    """What the user has said; everything else has its default.

    Attributes:
        values: path of a setting -> checked value.
        terms: term -> option -> range to search or value to keep.
        model_options: further arguments of the model's function.
        origins: path -> where it was said, for messages; of a term, `terms.NAME`.
        base: folder at which relative paths of a file start.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    terms: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    base: Path | None = None

    def overridden(self, other: Given) -> Given:
        """The same with what another has said put over it; options of a term one by one."""
        terms = {name: dict(options) for name, options in self.terms.items()}
        for name, options in other.terms.items():
            terms.setdefault(name, {}).update(options)
        return Given(
            {**self.values, **other.values},
            terms,
            {**self.model_options, **other.model_options},
            {**self.origins, **other.origins},
            self.base,
        )


def read(path: Path) -> Given:
    """Reads and checks a study file.

    Raises:
        StudyFileError: with all mistakes of the file at once.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as problem:
        reason = problem.strerror or problem
        raise StudyFileError([f"{path}: cannot be read ({reason}); correct the name"]) from None
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise StudyFileError([f"{path}:{line}: is not UTF-8; save the file as UTF-8"]) from None
    # TOML knows two line ends, and both count as one.
    text = text.replace("\r\n", "\n")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        found = re.search(r" \(at line (\d+), column \d+\)$", str(problem))
        line = int(found.group(1)) if found else text.count("\n") + 1
        what = str(problem).rpartition(" (at ")[0] or str(problem)
        raise StudyFileError(
            [f"{path}:{line}: is no valid TOML: {what}; correct this line or the one before"]
        ) from None
    lines = _lines(text)

    def where(*keys: str) -> str:
        # The statement that holds the key, or else the table around it.
        for count in range(len(keys), 0, -1):
            if keys[:count] in lines:
                return f"{path}:{lines[keys[:count]]}"
        return str(path)

    return _checked(content, where, path.resolve().parent)


def read_mapping(content: Mapping[str, Any], name: str = "study") -> Given:
    """Checks a mapping with the sections of a study file.

    Raises:
        StudyFileError: with all its mistakes at once.
    """
    problems = [
        f"{name}: {Wrong('keys that are texts', key)}; write it in quotes"
        for key in _keys(content)
        if not isinstance(key, str)
    ]
    if problems:
        raise StudyFileError(problems)
    return _checked(content, lambda *keys: name, None)


def _checked(content: Mapping[str, Any], where: Where, base: Path | None) -> Given:
    reader = _Reader(where)
    # The sections may come in any order, and what a model takes depends on its name.
    model = content.get("model")
    name = model.get("name", "unet") if isinstance(model, Mapping) else "unet"
    for section, entries in content.items():
        if section != "terms" and section not in SECTIONS:
            reader.unknown_section(section, entries)
        elif not isinstance(entries, Mapping):
            reader.note((section,), Wrong(f"a section [{section}] with keys", entries))
        elif section == "terms":
            reader.read_terms(entries)
        else:
            reader.read_section(section, entries, own_model=name != "unet")
    if reader.problems:
        raise StudyFileError(reader.problems)
    values = _rooted(reader.values, base)
    return Given(values, reader.terms, reader.model_options, reader.origins, base)


class _Reader:
    """Collects what a study says and everything that is wrong with it."""

    def __init__(self, where: Where) -> None:
        self._where = where
        self.values: dict[str, Any] = {}
        self.terms: dict[str, dict[str, Value]] = {}
        self.model_options: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.problems: list[str] = []

    def note(self, place: tuple[str, ...], fault: Wrong, remedy: str = "") -> None:
        """Keeps a problem for the end."""
        self.problems.append(f"{self._where(*place)}: {_named(place)}: {fault}{remedy}")

    def unknown_section(self, section: str, entries: Any) -> None:
        """Keeps that there is no such section; a single key outside of all is told its place."""
        expected = f"one of the sections {', '.join(SECTIONS)} and terms.NAME"
        if isinstance(entries, Mapping):
            near = nearest(section, [*SECTIONS, "terms"])
            self.note((section,), Wrong(expected, section, near))
            return
        remedy = _belongs(section) or "; write it below its section"
        self.problems.append(f"{self._where(section)}: {section}: expected {expected}{remedy}")

    def read_section(
        self, section: str, entries: Mapping[str, Any], *, own_model: bool = False
    ) -> None:
        """Reads the keys of a section; with an own model, its function's arguments too."""
        known = {setting.key: setting for setting in sections()[section]}
        for key, value in entries.items():
            place = (section, key)
            if section == "model" and own_model and (key not in known or key in _PER_MODEL):
                if isinstance(value, (bool, int, float, str)) and key.isidentifier():
                    self.model_options[key] = value
                else:
                    expected = "an argument's name, and a number, a text, true or false"
                    self.note(place, Wrong(expected, value))
            elif key not in known:
                belongs = _belongs(key)
                expected = f"a key of [{section}] ({', '.join(known)})"
                near = None if belongs else nearest(key, known)
                self.note(place, Wrong(expected, key, near), belongs)
            else:
                try:
                    self.values[f"{section}.{key}"] = known[key].kind.check(value)
                except Wrong as problem:
                    self.note(place, problem)
                self.origins[f"{section}.{key}"] = f"{self._where(*place)}: {_named(place)}"

    def read_terms(self, entries: Mapping[str, Any]) -> None:
        """Reads the sections `[terms.NAME]`."""
        for term, options in entries.items():
            place = ("terms", term)
            self.origins[f"terms.{term}"] = f"{self._where(*place)}: {_named(place)}"
            if term not in TERMS and not is_dotted(term):
                near = nearest(term, TERMS)
                known = "the name of a loss" if near else f"one of {', '.join(TERMS)}"
                self.note(place, Wrong(f'{known} or "package.module:Name" in quotes', term, near))
            elif not isinstance(options, Mapping):
                self.note(place, Wrong(f"a section [terms.{term}] with keys", options))
            else:
                self.terms[term] = {}
                for option, value in options.items():
                    try:
                        self.terms[term][option] = checked_option(term, option, value)
                    except Wrong as problem:
                        self.note((*place, option), problem)


def _keys(content: Mapping[Any, Any]) -> Iterator[Any]:
    """All keys of a mapping and of those inside of it."""
    for key, value in content.items():
        yield key
        if isinstance(value, Mapping):
            yield from _keys(value)


def _belongs(key: str) -> str:
    """Where a key stands that was looked for elsewhere."""
    there = [f"[{setting.section}]" for setting in SETTINGS if setting.key == key]
    return f"; it belongs below {' or '.join(there)}" if there else ""


def _rooted(values: dict[str, Any], base: Path | None) -> dict[str, Any]:
    """Resolves relative paths from the folder of the file."""
    if base is None:
        return values
    rooted = {
        path: base / value if isinstance(value, Path) else value for path, value in values.items()
    }
    uri = values.get("tracking.uri", "")
    kind, slashes, file = uri.partition(":///")
    if kind.startswith("sqlite") and slashes and file and not Path(file).is_absolute():
        rooted["tracking.uri"] = f"{kind}:///{(base / file).as_posix()}"
    return rooted


def _named(place: tuple[str, ...]) -> str:
    """`[terms.focal] gamma` for the keys on the way there."""
    depth = 2 if place[0] == "terms" else 1
    section = ".".join(key if key.isidentifier() else f'"{key}"' for key in place[:depth])
    return f"[{section}] {'.'.join(place[depth:])}".rstrip()


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Keys on the way to a table or a value -> line of the statement that makes it.

    The parser tells no positions. In a valid file every statement is valid by itself, and no
    beginning of one is: so each is as many lines as it takes to parse.
    """
    rows = text.split("\n")
    found: dict[tuple[str, ...], int] = {}
    header: tuple[str, ...] = ()
    start = 0
    while start < len(rows):
        for end in range(start + 1, len(rows) + 1):
            try:
                content = tomllib.loads("\n".join(rows[start:end]))
                break
            except tomllib.TOMLDecodeError:
                continue
        else:
            raise AssertionError("a valid file has a statement that is not valid")
        paths = list(_paths(content))
        if rows[start].lstrip().startswith("["):
            header = paths[-1]
            paths = [header[:count] for count in range(1, len(header) + 1)]
        else:
            paths = [header + path for path in paths]
        for path in paths:
            found.setdefault(path, start + 1)
        start = end
    return found


def _paths(content: Any) -> Iterator[tuple[str, ...]]:
    """The keys on the way to every table and value, the outer ones first."""
    if isinstance(content, list) and content and isinstance(content[0], dict):
        content = content[0]
    if isinstance(content, dict):
        for key, value in content.items():
            yield (key,)
            for rest in _paths(value):
                yield (key, *rest)
