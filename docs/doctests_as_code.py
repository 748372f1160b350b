"""Lets the API reference show doctests as code, where Markdown would take `>>>` for quotes."""

from __future__ import annotations

import re
from typing import Any

import griffe

# From the first `>>>` to the next empty line, or to the end.
DOCTEST = re.compile(r"^( *)>>> .*?(?=\n[ ]*\n|\Z)", re.MULTILINE | re.DOTALL)


class DoctestsAsCode(griffe.Extension):
    """Puts fences around every doctest before the docstring is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = DOCTEST.sub(_fenced, obj.docstring.value)


def _fenced(match: re.Match[str]) -> str:
    margin = match[1]
    return f"{margin}```pycon\n{match[0]}\n{margin}```"
