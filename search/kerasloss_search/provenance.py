"""Where a result comes from: data, code, settings and seeds, enough to get it again."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kerasloss_search.catalogue import Range, Term
from kerasloss_search.jobs import Settings
from kerasloss_search.space import Space

__all__ = ["provenance", "settings_from_json", "settings_to_json"]

_PACKAGES = ("kerasloss", "keras", "optuna", "numpy")


def provenance(
    settings: Settings,
    *,
    backend: str,
    fingerprint: str,
    seeds: list[int],
    command: str,
    asked: Mapping[str, Any],
) -> dict[str, Any]:
    """What a reader has to know to repeat a search: name -> value.

    `asked` are the settings that say which data, how many trials and the like: a study file that
    the command names may be another one by then.
    """
    return {
        "command": command,
        **asked,
        "code": _code(),
        "data_fingerprint": fingerprint,
        "seed": settings.seed,
        "seeds": seeds,
        "backend": backend,
        "version": _version("kerasloss"),
        "packages": {name: _version(name) for name in (*_PACKAGES, backend)},
        "python": platform.python_version(),
    }


def settings_to_json(settings: Settings) -> dict[str, Any]:
    """Settings as plain data; the data file is left out, as it lies in the same folder."""
    stored = asdict(settings)
    del stored["data"]
    return stored


def settings_from_json(stored: Mapping[str, Any], data: Path) -> Settings:
    """What `settings_to_json` was given, with the data file at its present place."""
    space = dict(stored["space"])
    space["terms"] = {name: _term(term) for name, term in space["terms"].items()}
    for name in ("weights", "learning_rate"):
        space[name] = Range(**space[name])
    for name in ("strategies", "optimizers"):
        space[name] = tuple(space[name])
    known = {field.name for field in fields(Settings)} - {"data", "space", "scores"}
    return Settings(
        data=data,
        space=Space(**space),
        scores=tuple(stored["scores"]),
        **{name: stored[name] for name in known},
    )


def _term(stored: Mapping[str, Any]) -> Term:
    ranges = {name: Range(**limits) for name, limits in stored["ranges"].items()}
    return Term(**{**stored, "ranges": ranges})


def _code() -> str:
    """SHA-256 over the sources: between two versions there are many."""
    digest = hashlib.sha256()
    for package in ("kerasloss", "kerasloss_search"):
        found = importlib.util.find_spec(package)
        for folder in (found and found.submodule_search_locations) or ():
            for file in sorted(Path(folder).rglob("*.py")):
                digest.update(file.relative_to(folder).as_posix().encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
