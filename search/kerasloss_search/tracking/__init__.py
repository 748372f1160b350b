"""What a search writes to MLflow."""

from kerasloss_search.tracking.recorder import NullTracker, Status, Tracker, last_store
from kerasloss_search.tracking.stores import artifact_uri, checked_uri, store_uri

__all__ = [
    "NullTracker",
    "Status",
    "Tracker",
    "artifact_uri",
    "checked_uri",
    "last_store",
    "store_uri",
]
