"""Building blocks that losses and users share."""

from kerasloss.ops.distance import distance_transform

__all__ = ["distance_transform"]
