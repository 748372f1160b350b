"""Metrics of segmentations: overlap, surface distance, topology and objects; one file a family.

The functions give one value an image and class; the classes are `keras.metrics.Metric`s that take
the mean over a data set.
"""

from kerasloss.metrics import (
    area,
    boundary,
    cavities,
    matching,
    objects,
    overlap,
    pixel_accuracy,
    rates,
    surface,
    topology,
)
from kerasloss.metrics.area import *
from kerasloss.metrics.base import SegmentationMetric
from kerasloss.metrics.boundary import *
from kerasloss.metrics.cavities import *
from kerasloss.metrics.matching import *
from kerasloss.metrics.objects import *
from kerasloss.metrics.overlap import *
from kerasloss.metrics.pixel_accuracy import *
from kerasloss.metrics.rates import *
from kerasloss.metrics.surface import *
from kerasloss.metrics.topology import *

__all__ = ["SegmentationMetric"]
__all__ += area.__all__
__all__ += boundary.__all__
__all__ += cavities.__all__
__all__ += matching.__all__
__all__ += objects.__all__
__all__ += overlap.__all__
__all__ += pixel_accuracy.__all__
__all__ += rates.__all__
__all__ += surface.__all__
__all__ += topology.__all__
