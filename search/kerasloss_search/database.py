"""The database of a study, as Optuna is to use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from kerasloss_search import trouble
from kerasloss_search.catalogue import Choice, Range

__all__ = ["StudyError", "distribution", "opened"]


class StudyError(ValueError):
    """A stored study that does not fit what is asked for now."""


def opened(path: Path, *, wait_s: float) -> optuna.storages.RDBStorage:
    """Opens a database, or makes it.

    Args:
        path: of the file.
        wait_s: how long a write waits for another program that has locked it.

    Raises:
        StudyError: if another version of Optuna has made it, which this one cannot read.
    """
    try:
        return optuna.storages.RDBStorage(
            f"sqlite:///{path.resolve().as_posix()}",
            engine_kwargs={
                "connect_args": {"timeout": wait_s},
                "pool_events": [(_tune_sqlite, "connect")],
            },
        )
    except RuntimeError as problem:
        # All that it raises so is a schema of another version.
        raise StudyError(
            f"{path} is of another version of Optuna than the {optuna.__version__} that is "
            f"installed ({trouble.one_line(problem)}). Install that version to go on with the "
            "search, or give another --output."
        ) from problem


def _tune_sqlite(connection: Any, record: object) -> None:
    """A write a parameter is many writes: with a write-ahead log each costs a tenth.

    What was written survives the death of this process; a power cut may lose the last moments.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def distribution(limits: Range | Choice) -> BaseDistribution:
    """Optuna's word for what a parameter may be."""
    if isinstance(limits, Choice):
        return CategoricalDistribution(limits.options)
    return FloatDistribution(limits.low, limits.high, log=limits.log)
