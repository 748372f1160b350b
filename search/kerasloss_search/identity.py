"""Whether a stored study is the one that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["changes"]


def changes(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What is asked for and was otherwise, in words; empty where all is equal."""
    return ", ".join(
        f"{name} (was {_brief(stored.get(name))}, is {_brief(value)})"
        for name, value in asked.items()
        if stored.get(name) != value
    )


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}..."
