"""A parser of a command line that says in one line what is wrong, and what may have been meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from kerasloss_search.settings.wording import nearest

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """The parser of the program, and of each of its commands."""

    def __init__(self, **options: Any) -> None:
        # No abbreviations: a new option would make an old command mean something else.
        super().__init__(allow_abbrev=False, **options)
        # The command's own parser comes last, and so is the one that is kept.
        self.set_defaults(parser=self)

    def parse_command(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """Reads a command; what is left over is told with the options of that command alone."""
        options, left = self.parse_known_args(arguments)
        if left:
            command: Parser = options.parser
            command.refuse(left)
        return options

    def refuse(self, left: Sequence[str]) -> NoReturn:
        """Ends with what the command has no use for: an option, or else a further word."""
        unknown = next((text for text in left if text.startswith("-") and text != "--"), None)
        if unknown is None:
            word = next((text for text in left if text != "--"), left[0])
            self._end(f"takes no further argument, received {word!r}; take it away")
        name = unknown.partition("=")[0]
        near = nearest(name, self._option_string_actions)
        self._end(f"{name}: there is no such option" + (f"; did you mean {near}?" if near else ""))

    def error(self, message: str) -> NoReturn:
        text = re.sub(r"^argument ", "", message)
        chosen = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if chosen:
            near = nearest(chosen.group(1), re.findall(r"[a-z]+", chosen.group(2)))
            text += f"; did you mean {near}?" if near else ""
        flag = re.match(r"(--\S+)/(--no-\S+): ignored explicit argument", text)
        if flag:
            text = f"{flag[1]}: expected no value; write {flag[1]} or {flag[2]}"
        self._end(text)

    def _end(self, text: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {text} (`{self.prog} --help` lists everything)\n")
