"""Segmentation losses for Keras 3, and a callback that re-weights them while a model trains."""

from kerasloss import losses, ops, weighting
from kerasloss.callbacks import DynamicWeighting
from kerasloss.compound import Compound
from kerasloss.losses import *
from kerasloss.maps import distance_maps, with_distance_maps
from kerasloss.saving import get, load, save

__version__ = "0.1.0"
__all__ = [
    "Compound",
    "DynamicWeighting",
    "distance_maps",
    "get",
    "load",
    "losses",
    "ops",
    "save",
    "weighting",
    "with_distance_maps",
]
__all__ += losses.__all__
