"""How another Python is started: with nothing of the current folder in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["SAFE_PATH", "safe_path"]

# `python -c` and `python -m` look for modules in the current folder first, standard library
# included, and that folder may be the downloads. What a worker needs from there it is handed.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}


@contextmanager
def safe_path() -> Iterator[None]:
    """Has the processes that are started look for no modules in the current folder."""
    before = {name: os.environ.get(name) for name in SAFE_PATH}
    os.environ.update(SAFE_PATH)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
