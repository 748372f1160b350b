"""Segmentation losses for Keras 3, and a callback that re-weights them while a model trains."""

from kerasloss import losses, metrics, ops, weighting
from kerasloss.callbacks import DynamicWeighting
from kerasloss.compound import Compound
from kerasloss.losses import *
from kerasloss.saving import get, load, save

__version__ = "0.1.0"
__all__ = [
    "Compound",
    "DynamicWeighting",
    "get",
    "load",
    "losses",
    "metrics",
    "ops",
    "save",
    "weighting",
]
__all__ += losses.__all__
