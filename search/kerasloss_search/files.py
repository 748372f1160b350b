"""What a search keeps in its folder, and how it is written: whole or not at all."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kerasloss_search.dataset import Dataset
from kerasloss_search.jobs import Final

__all__ = [
    "final_file",
    "holds",
    "logs_file",
    "read_final",
    "read_json",
    "sweep",
    "whole",
    "write_json",
]

# What `whole` and `Dataset.save` write to, with the number of the process that does.
_UNFINISHED = re.compile(r"\.(\d+)\..+|data\.npz\.(\d+)\.tmp")


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


def sweep(folder: Path) -> None:
    """Removes what processes that were killed have left half-written in a search's folder.

    The caller holds the lock of the folder and has not written anything yet.
    """
    for place in (folder, folder / "trials", folder / "finals"):
        for path in place.iterdir() if place.is_dir() else ():
            found = _UNFINISHED.fullmatch(path.name)
            if found and path.is_file() and not _lives(int(found[1] or found[2])):
                path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    if process == os.getpid():
        # In containers every session may have the same number. That of now has written nothing.
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # It lives and is another user's.
    return True


def holds(path: Path, dataset: Dataset) -> bool:
    """Whether a file is this data set already, as `Dataset.save` would write it."""
    try:
        stored = Dataset.load_npz(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return False
    return _said(stored) == _said(dataset)


def _said(dataset: Dataset) -> tuple[object, ...]:
    # The fingerprint has neither names nor groups, which a training with folds divides by.
    known = dataset.names, dataset.groups, dataset.classes, dataset.vanished
    return dataset.fingerprint, *known


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
