"""How another Python is started: with nothing of the current folder in it, and undisturbed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

__all__ = ["SAFE_PATH", "safe_path", "undisturbed"]

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


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keeps Ctrl-C from the processes that are started inside of it, and holds it back here.

    Otherwise it ends a child that is still being born, or finds no end of what its parent was
    about to tell it; either way the child prints a traceback. A child inherits the mask.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # The helper of `multiprocessing` takes the mask off again when it is started.
    resource_tracker.ensure_running()
    main = threading.current_thread() is threading.main_thread()
    held: list[int] = []
    # The mask is that of a thread: another one may take the signal, for this one to handle.
    numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
    handlers = {number: signal.getsignal(number) for number in numbers}
    for number, handler in handlers.items():
        if callable(handler):
            signal.signal(number, lambda number, _: held.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)
        for missed in set(held):
            signal.raise_signal(missed)
