"""What a search keeps in its folder, and how it is written: whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kerasloss_search.jobs import Final

__all__ = ["final_file", "logs_file", "read_final", "read_json", "whole", "write_json"]


def logs_file(folder: Path, number: int) -> Path:
    """What the epochs of a trial logged: name -> one number an epoch."""
    return folder / "trials" / f"{number:04d}.json"


def final_file(folder: Path, number: int, seed: int) -> Path:
    """A training of the final stage; `.npz` beside it holds the predicted labels."""
    return folder / "finals" / f"{number:04d}-{seed}.json"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside a file to write it anew; it takes the file's place once that went well."""
    # The suffix stays: some writers choose the format by it, or add their own.
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes a file that is never seen half-written."""
    with whole(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The content of a file, or None where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def read_final(path: Path) -> Final | None:
    """A training of the final stage that was finished, or None."""
    stored = read_json(path)
    return None if stored is None else Final(**stored)
