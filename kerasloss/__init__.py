"""Segmentation losses for Keras 3, and a callback that re-weights them while a model trains."""

from kerasloss import losses, metrics, ops, testing, weighting
from kerasloss.callbacks import DynamicWeighting
from kerasloss.citations import citation
from kerasloss.compound import Compound
from kerasloss.losses import *
from kerasloss.maps import distance_maps, with_distance_maps
from kerasloss.multilabel import Multilabel
from kerasloss.plots import plot_weights
from kerasloss.saving import get, load, save
from kerasloss.supervision import AtResolution, DeepSupervision
from kerasloss.weighting import LogVariances

__version__ = "0.1.0"
__all__ = [
    "AtResolution",
    "Compound",
    "DeepSupervision",
    "DynamicWeighting",
    "LogVariances",
    "Multilabel",
    "citation",
    "distance_maps",
    "get",
    "load",
    "losses",
    "metrics",
    "ops",
    "plot_weights",
    "save",
    "testing",
    "weighting",
    "with_distance_maps",
]
__all__ += losses.__all__
