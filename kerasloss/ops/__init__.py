"""Building blocks that losses and users share."""

from kerasloss.ops.distance import distance_transform
from kerasloss.ops.skeleton import soft_skeleton

__all__ = ["distance_transform", "soft_skeleton"]
