"""A search for the segmentation loss that suits your own images."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasloss_search.api import Outcome, search
    from kerasloss_search.data import DataError
    from kerasloss_search.driver import SearchError

__all__ = ["DataError", "Outcome", "SearchError", "search"]

_PLACES = {"DataError": "data", "Outcome": "api", "SearchError": "driver", "search": "api"}


def __getattr__(name: str) -> Any:
    # Workers import this package before they choose their backend and their GPU.
    if name in _PLACES:
        return getattr(import_module(f"kerasloss_search.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
