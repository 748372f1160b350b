"""What goes wrong outside of the program, in one line: what happened, and what to do."""

from __future__ import annotations

import errno
import os
import re
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

__all__ = ["died", "explain", "one_line", "out_of_memory"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})

# How the backends put it; each has an exception class of its own, and none may be imported here.
_MEMORY = re.compile(
    r"resource_?exhausted|out ?of ?memory|\boom\b|can't allocate memory|unable to allocate"
    r"|bad_alloc|failed to allocate",
    re.IGNORECASE,
)

_LESS_MEMORY = "give a smaller --batch-size, --size or --width, or fewer --workers"


def explain(problem: BaseException, folder: Path) -> str | None:
    """Explains a problem with the disk, a database or the memory, or what was caused by one.

    Args:
        problem: any exception; its causes are looked at, too.
        folder: the output folder.

    Returns:
        One line, or None where the problem is of another kind.
    """
    for cause in _causes(problem):
        if isinstance(cause, MemoryError):
            return f"out of memory: {_LESS_MEMORY}."
        if isinstance(cause, OSError) and (line := _of_the_disk(cause, folder)):
            return line
        if isinstance(cause, sqlite3.Error):
            return _of_a_database(str(cause), folder)
    return None


def out_of_memory(problem: BaseException) -> str | None:
    """Says what to do if a problem is that memory ran out, whatever the backend calls it."""
    for cause in _causes(problem):
        if isinstance(cause, MemoryError) or _MEMORY.search(f"{type(cause).__name__}: {cause}"):
            return f"out of memory: {_LESS_MEMORY}"
    return None


def died(code: int | None) -> str:
    """Says how a process ended by its exit code; a negative one is a signal."""
    if code == -signal.SIGKILL:
        return (
            f"its process was killed (code {code}), as the system does when memory runs out: "
            f"{_LESS_MEMORY}"
        )
    return f"its process ended with code {code}; see workers.log"


def one_line(problem: BaseException) -> str:
    """Describes an exception in a line, without the colours and the arguments that Keras adds."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(problem)).partition("Arguments received by")[0]
    text = " ".join(text.split())
    name = type(problem).__name__
    return (f"{name}: {text}" if text else name)[:300]


def _causes(problem: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = problem
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        hidden = None if following.__suppress_context__ else following.__context__
        following = following.__cause__ or hidden


def _of_the_disk(problem: OSError, folder: Path) -> str | None:
    if problem.errno in _FULL:
        return _full(folder)
    path = Path(os.fsdecode(problem.filename)) if _is_path(problem.filename) else folder
    # Another folder helps only where it is the output that is meant.
    another = "give another --output, or " if _belongs(path, folder) else ""
    if problem.errno in _FORBIDDEN:
        if problem.errno != errno.EROFS and (fault := _unreadable(path)):
            return f"{path} cannot be {fault} ({problem.strerror}): correct its permissions."
        return f"{path} cannot be written ({problem.strerror}): {another}correct the permissions."
    if not another:
        return None
    if isinstance(problem, (FileExistsError, NotADirectoryError)):
        return f"{path} is in the way, a folder is needed there: give another --output."
    if isinstance(problem, IsADirectoryError):
        return f"{path} is a folder, a file is needed there: move it, or give another --output."
    return None


def _unreadable(path: Path) -> str | None:
    """What cannot be done with a path besides writing; the system has one number for all."""
    if os.access(path, os.R_OK):
        return None
    if os.path.exists(path):
        return "read"
    return "reached" if path.parent.is_dir() and not os.access(path.parent, os.X_OK) else None


def _is_path(name: object) -> bool:
    return isinstance(name, (str, bytes, os.PathLike))


def _belongs(path: Path, folder: Path) -> bool:
    """Whether a path is the folder, lies in it, or is above it, where it was to be made."""
    path, folder = path.resolve(), folder.resolve()
    return path.is_relative_to(folder) or folder.is_relative_to(path)


def _full(folder: Path) -> str:
    return (
        f"the disk of {folder} is full: free some space, then repeat the command. Finished trials "
        "are kept."
    )


def _of_a_database(text: str, folder: Path) -> str:
    if "full" in text:
        return _full(folder)
    if "locked" in text or "busy" in text:
        return (
            f"a database in {folder} is locked by another program, such as a database viewer: "
            "close it there, then repeat the command. Finished trials are kept."
        )
    if "readonly" in text or "unable to open" in text:
        return (
            f"a database in {folder} cannot be written ({text}): give another --output, or correct "
            "the permissions."
        )
    return (
        f"a database in {folder} cannot be used ({text}): restore a copy of it, or give another "
        "--output."
    )
