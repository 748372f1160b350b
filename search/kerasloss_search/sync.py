"""Delivers what MLflow has not taken while a search ran."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kerasloss_search.lock import locked
from kerasloss_search.outbox import JOURNAL, SKIPPED, without_password
from kerasloss_search.tracking import Tracker, last_store

__all__ = ["sync"]

# So long nothing may get through, with a reason known, before the server counts as away.
_PATIENCE_S = 10.0


def sync(folder: Path, uri: str | None, console: Console) -> int:
    """Delivers every event of a search that MLflow does not have yet.

    Args:
        folder: the search's folder.
        uri: MLflow store or server; None for the one that the search used last.
        console: takes the progress and the result.

    Returns:
        The exit code: 0 when MLflow has everything, 2 when the server does not answer or refuses
        an event for good.

    Raises:
        ValueError: `folder` holds no record, a search is running in it, or `uri` is no store.
    """
    if uri is None or not (folder / JOURNAL).is_file():
        uri = last_store(folder)  # or says that there is no search
    with locked(folder):
        skipped = _lines(folder / SKIPPED)
        tracker = Tracker(folder, uri=uri, experiment=f"kerasloss {folder.name}")
        total = tracker.pending
        try:
            if total:
                _watch(tracker, total, console)
        finally:
            # What is under way is seen to its end: then it is not in doubt the next time.
            left = tracker.close(timeout_s=1.0)
        skipped = _lines(folder / SKIPPED) - skipped
    console.print(f"Delivered {_events(tracker.delivered)}.", highlight=False)
    if left:
        where = "mlflow.db in the folder" if uri is None else without_password(uri)
        _complain(
            f"{where} takes nothing now ({(tracker.error or 'slow')[:160]}). {_events(left)} are "
            f"kept; try again with: kerasloss-search sync --output {shlex.quote(str(folder))}"
        )
    if skipped:
        _complain(f"{_events(skipped)} refused for good; see {folder / SKIPPED}")
    return 2 if left or skipped else 0


def _watch(tracker: Tracker, total: int, console: Console) -> None:
    """Shows the progress until everything is through or nothing gets through any more."""
    columns = (TextColumn("events"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=total)
        left, since = total, time.monotonic()
        while left and time.monotonic() - since < _PATIENCE_S:
            time.sleep(0.05)
            now = tracker.pending
            progress.update(bar, completed=total - now)
            # A server that is only slow gives no reason for a complaint.
            if now < left or tracker.error is None:
                left, since = now, time.monotonic()


def _events(number: int) -> str:
    return "1 event" if number == 1 else f"{number} events"


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _complain(text: str) -> None:
    # It holds paths and what a server said: brackets in them are no markup.
    console = Console(stderr=True)
    console.print(f"kerasloss-search: {text}", highlight=False, markup=False, soft_wrap=True)
