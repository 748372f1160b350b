"""Kinds of settings: what a value may be, how it is read from a command line, written as TOML."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from kerasloss_search.catalogue import Range
from kerasloss_search.settings.wording import Wrong, choices, is_number, nearest, quoted, written
from kerasloss_search.space import is_dotted

__all__ = [
    "Duration",
    "Flag",
    "Folder",
    "Kind",
    "Limits",
    "Names",
    "Number",
    "Text",
    "Whole",
    "Word",
]

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def _as_number(text: str) -> float | str:
    """The number that a text is, or the text itself, which no check will take for one."""
    try:
        return float(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class Kind:
    """What a setting may be. `check` takes a value out of TOML, `parse` a command line's text."""

    @property
    def expected(self) -> str:
        """What a value has to be, after the word 'expected'."""
        raise NotImplementedError

    @property
    def metavar(self) -> str:
        """What stands for the value in the help."""
        return "VALUE"

    def check(self, value: Any) -> Any:
        """The value that the search works with.

        Raises:
            Wrong: if it cannot be one.
        """
        raise NotImplementedError

    def parse(self, text: str) -> Any:
        """The same from a command line."""
        return self.check(text)

    def toml(self, value: Any) -> str:
        """A checked value as it is written in a study file."""
        return written(value)

    def shell(self, value: Any) -> str:
        """A checked value as it is given on a command line."""
        return str(value)


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number."""

    low: int = 1
    high: int | None = None

    @property
    def expected(self) -> str:
        if self.high is None:
            return f"a whole number >= {self.low}"
        return f"a whole number from {self.low} to {self.high}"

    @property
    def metavar(self) -> str:
        return "N"

    def check(self, value: Any) -> int:
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise Wrong(self.expected, value)
        number = int(value)
        if number < self.low or (self.high is not None and number > self.high):
            raise Wrong(self.expected, value)
        return number

    def parse(self, text: str) -> int:
        return self.check(int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else text)


@dataclass(frozen=True)
class Number(Kind):
    """A number between two limits that it may not reach."""

    above: float
    below: float

    @property
    def expected(self) -> str:
        return f"a number above {self.above:g} and below {self.below:g}"

    @property
    def metavar(self) -> str:
        return "X"

    def check(self, value: Any) -> float:
        if not is_number(value) or not self.above < value < self.below:
            raise Wrong(self.expected, value)
        return float(value)

    def parse(self, text: str) -> float:
        return self.check(_as_number(text))


@dataclass(frozen=True)
class Flag(Kind):
    """True or false; on the command line an option and its `--no-` twin."""

    @property
    def expected(self) -> str:
        return "true or false"

    def check(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise Wrong(self.expected, value)
        return value

    def shell(self, value: Any) -> str:
        return "yes" if value else "no"


@dataclass(frozen=True)
class Text(Kind):
    """A text; `problem` may find fault with it, as a remedy of a few words."""

    what: str = "a text"
    place: str = "TEXT"
    problem: Callable[[str], str | None] | None = None

    @property
    def expected(self) -> str:
        return self.what

    @property
    def metavar(self) -> str:
        return self.place

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise Wrong(self.what, value)
        fault = self.problem(value) if self.problem is not None else None
        if fault is not None:
            raise Wrong(f"{self.what} ({fault})", value)
        return value

    def toml(self, value: Any) -> str:
        # As a literal string, in which a backslash of a regular expression stays what it is.
        return f"'{value}'" if "\\" in value and "'" not in value else quoted(value)


@dataclass(frozen=True)
class Folder(Kind):
    """The path of a folder; relative ones are resolved by whoever knows where they start."""

    @property
    def expected(self) -> str:
        return "the path of a folder"

    @property
    def metavar(self) -> str:
        return "DIR"

    def check(self, value: Any) -> Path:
        if not isinstance(value, Path) and (
            not isinstance(value, str) or not value.strip() or "\0" in value
        ):
            raise Wrong(self.expected, value)
        try:
            # A shell does that only at the beginning of a word, not behind `--output=`.
            return Path(value).expanduser()
        except RuntimeError:
            raise Wrong("the path of a folder, ~ with the name of a user", str(value)) from None

    def toml(self, value: Any) -> str:
        return quoted(Path(value).as_posix())


@dataclass(frozen=True)
class Word(Kind):
    """One of several words; `none` is what stands for nothing: `false`, `none` to a shell."""

    words: tuple[str, ...]
    optional: bool = False

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.words)}{self._nothing}"

    @property
    def _nothing(self) -> str:
        return " or false" if self.optional else ""

    @property
    def metavar(self) -> str:
        return "NAME"

    def check(self, value: Any) -> str | None:
        if self.optional and (value is False or value == "none"):
            # As the command line has it, where false would be one more word.
            return None
        if value not in self.words:
            near = nearest(value, self.words)
            raise Wrong(f"one of {choices(self.words, near)}{self._nothing}", value, near)
        return str(value)

    def parse(self, text: str) -> str | None:
        return self.check(False if self.optional and text in ("none", "false") else text)

    def toml(self, value: Any) -> str:
        return "false" if value is None else quoted(value)


@dataclass(frozen=True)
class Names(Kind):
    """A list of different words; with `dotted`, a user's own `package.module:Name` as well."""

    words: tuple[str, ...]
    dotted: bool = False
    fewest: int = 1

    @property
    def expected(self) -> str:
        return f"names out of {', '.join(self.words)}{self._own}"

    @property
    def _own(self) -> str:
        return " or package.module:Name" if self.dotted else ""

    @property
    def metavar(self) -> str:
        return "NAME,..."

    def check(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)):
            raise Wrong("a list of names", value)
        for name in value:
            if not self._known(name):
                near = nearest(name, self.words)
                raise Wrong(f"one of {choices(self.words, near)}{self._own}", name, near)
        if len(set(value)) < len(value):
            raise Wrong("every name once", value)
        if len(value) < self.fewest:
            least = {1: "at least one name", 2: "at least two names"}[self.fewest]
            raise Wrong(least, value)
        return tuple(value)

    def _known(self, name: Any) -> bool:
        return name in self.words or (self.dotted and isinstance(name, str) and is_dotted(name))

    def shell(self, value: Any) -> str:
        return ",".join(value)

    def parse(self, text: str) -> tuple[str, ...]:
        return self.check([part.strip() for part in text.split(",") if part.strip()])


@dataclass(frozen=True)
class Limits(Kind):
    """A range of numbers above 0, `[low, high]`."""

    log: bool = False
    highest: float = math.inf

    @property
    def expected(self) -> str:
        most = "" if math.isinf(self.highest) else f" <= {self.highest:g}"
        return f"[low, high] with 0 < low < high{most}"

    @property
    def metavar(self) -> str:
        return "LOW,HIGH"

    def check(self, value: Any) -> Range:
        if (
            not isinstance(value, (list, tuple))
            or len(value) != 2
            or not all(map(is_number, value))
        ):
            raise Wrong(self.expected, value)
        low, high = value
        if not 0 < low < high <= self.highest:
            raise Wrong(self.expected, value)
        return Range(float(low), float(high), log=self.log)

    def parse(self, text: str) -> Range:
        inner = text.strip()
        if inner.startswith("[") and inner.endswith("]"):
            # As a study file has it.
            inner = inner[1:-1]
        try:
            return self.check([_as_number(part.strip()) for part in inner.split(",")])
        except Wrong:
            most = "" if math.isinf(self.highest) else f" <= {self.highest:g}"
            raise Wrong(f"LOW,HIGH with 0 < LOW < HIGH{most}", text) from None

    def toml(self, value: Any) -> str:
        return f"[{value.low:.15g}, {value.high:.15g}]"

    def shell(self, value: Any) -> str:
        return f"{value.low:g},{value.high:g}"


@dataclass(frozen=True)
class Duration(Kind):
    """A time such as `90min`, `2h`, `1d` or `1h30min`; in seconds inside of the search."""

    @property
    def expected(self) -> str:
        return 'a time such as "90min", "2h" or "1d"'

    @property
    def metavar(self) -> str:
        return "TIME"

    def check(self, value: Any) -> float:
        text = value.strip() if isinstance(value, str) else ""
        if not re.fullmatch(r"(?:[0-9]+(?:\.[0-9]+)?\s*(?:s|min|h|d)\s*)+", text):
            raise Wrong(self.expected, value)
        parts = re.findall(r"([0-9.]+)\s*(s|min|h|d)", text)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        if seconds <= 0:
            raise Wrong(f"{self.expected}, longer than 0", value)
        return seconds

    def toml(self, value: Any) -> str:
        return quoted(f"{value:.15g}s")
