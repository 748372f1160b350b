"""Which Keras backend a search trains on."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sqlite3
from pathlib import Path

from kerasloss_search.driver import SearchError

__all__ = ["BACKENDS", "choose_backend"]

BACKENDS = ("jax", "tensorflow", "torch")
"""In the order of preference: a search is fastest on JAX."""


def choose_backend(wanted: str | None, folder: Path | None = None) -> str:
    """The Keras backend: the first that is said by these, in this order.

    `--backend`, the variable KERAS_BACKEND, the study that the folder holds, `keras.json`, and
    else the first that is installed.

    Args:
        wanted: what was given as `--backend`.
        folder: the output folder; a study in it goes on with its own backend.

    Raises:
        SearchError: if it is not installed.
    """
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    if wanted:
        return _checked(wanted, "--backend", installed)
    if variable := os.environ.get("KERAS_BACKEND"):
        return _checked(variable, "KERAS_BACKEND", installed)
    if folder is not None and (stored := _stored(folder)):
        return _checked(stored, f"the study in {folder}", installed)
    configured = _configured()
    # Keras writes the file on its first import, with `tensorflow` in it whatever it runs on: that
    # word is nobody's choice.
    if configured in installed and configured != "tensorflow":
        return configured
    if not installed:
        raise SearchError(
            f"no Keras backend is installed; expected one of {', '.join(BACKENDS)}: "
            'pip install "kerasloss[jax]"'
        )
    return installed[0]


def _checked(name: str, origin: str, installed: list[str]) -> str:
    if name in installed:
        return name
    if name not in BACKENDS:
        raise SearchError(
            f"{origin}: expected a Keras backend, {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}, "
            f"received {name!r}; give one of them"
        )
    others = f", or give --backend {' or '.join(installed)}" if installed else ""
    raise SearchError(
        f"{origin}: expected a Keras backend that is installed, received {name!r}; "
        f'pip install "kerasloss[{name}]"{others}'
    )


def _stored(folder: Path) -> str | None:
    """The backend of the study in a folder.

    Not by Optuna, which would create the database; where it cannot be read, opening the study
    tells why.
    """
    database = folder / "study.db"
    if not database.is_file():
        return None
    question = "SELECT value_json FROM study_user_attributes WHERE key = 'identity'"
    try:
        with contextlib.closing(
            sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
        ) as connection:
            (identity,) = connection.execute(question).fetchone()
        found = json.loads(identity)["backend"]
    except (sqlite3.Error, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def _configured() -> str | None:
    """The backend in the user's Keras configuration file."""
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        found = json.loads((home / "keras.json").read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None
