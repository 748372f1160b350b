"""Segmentation losses for Keras 3, and a callback that re-weights them while a model trains."""

from kerasloss import losses, ops
from kerasloss.losses import *

__version__ = "0.1.0"
__all__ = ["losses", "ops"]
__all__ += losses.__all__
