"""How a mistake in a setting is put into words."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Real
from typing import Any, TypeGuard

__all__ = ["Wrong", "choices", "is_number", "nearest", "quoted", "shown", "written"]

_LONGEST = 60


class Wrong(ValueError):
    """A value that a setting cannot take: what was expected, what came, and what is nearest."""

    def __init__(self, expected: str, received: Any, near: str | None = None) -> None:
        self.expected, self.received, self.near = expected, received, near
        hint = f"; did you mean {shown(near)}?" if near is not None else ""
        super().__init__(f"expected {expected}, received {shown(received)}{hint}")

    def about(self, received: Any) -> Wrong:
        """The same with what came written in another way, as the user has typed it."""
        return Wrong(self.expected, received, self.near)


def nearest(name: Any, known: Iterable[str]) -> str | None:
    """The known name that a mistyped one most likely stands for."""
    if not isinstance(name, str):
        return None
    folded = {one.casefold().replace("_", "-"): one for one in known}
    found = difflib.get_close_matches(name.casefold().replace("_", "-"), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def shown(value: Any) -> str:
    """A value as TOML writes it, not too long for a message of one line."""
    text = written(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def choices(words: tuple[str, ...], near: str | None) -> str:
    """The words to choose from; only how many, if they are many and the right one is found."""
    return f"{len(words)} names" if near is not None and len(words) > 10 else ", ".join(words)


def written(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(written(one) for one in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {written(one)}" for key, one in value.items()) + "}"
    if value is None:
        return "nothing"
    return str(value).replace("\n", "\\n")


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number, and not true or false."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        # A whole number may be larger than any float.
        return False


def quoted(text: str) -> str:
    """A text as a string of TOML."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + plain.replace("\n", "\\n").replace("\t", "\\t") + '"'
