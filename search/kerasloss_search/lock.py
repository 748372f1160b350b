"""One process at a time works in an output folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["InUse", "locked"]


class InUse(ValueError):
    """Another process works in the folder; one line."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a folder; the lock goes with the process, however it ends.

    Raises:
        InUse: if another process has it.
    """
    # Here, because Windows has none: the help and `ui` work there.
    import fcntl

    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise InUse(
                f"--output: another search is running in {folder}. Wait for it, or give another."
            ) from problem
        yield
