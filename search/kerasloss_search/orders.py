"""What is asked of the workers beside trials: one task, and its answer waited for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kerasloss_search.executor import Event, Executor

__all__ = ["SearchError", "call", "events"]


class SearchError(Exception):
    """Something that ends the search and that the user can mend; one line."""


def call(executor: Executor, name: str, *arguments: Any) -> Any:
    """Has an idle worker do something, waits for it, and returns what came of it.

    Raises:
        SearchError: if it fails.
    """
    submitted = False
    while True:
        if not submitted and (idle := executor.idle()):
            executor.submit(idle[0], name, name, arguments)
            submitted = True
        for event in events(executor):
            if event.task == name and event.kind == "done":
                return event.content
            if event.task == name:
                raise SearchError(f"{name} failed: {event.content}")


def events(executor: Executor) -> Iterator[Event]:
    """What has happened; that no task can be done there at all ends the search."""
    for event in executor.poll(0.5):
        if event.kind == "refused":
            raise SearchError(event.content)
        yield event
