"""SIGTERM, by which a cluster or a service manager ends a program, acts like Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

__all__ = ["sigterm_is_ctrl_c"]


@contextlib.contextmanager
def sigterm_is_ctrl_c() -> Iterator[None]:
    """Inside of it what is to be tidied up on Ctrl-C is tidied up on SIGTERM, too.

    Only the main thread may say so; in others nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
