"""Metrics of segmentations: overlap, surface distance, topology and objects; one file a family.

The functions give one value an image and class; the classes are `keras.metrics.Metric`s that take
the mean over a data set.
"""

from kerasloss.metrics import area, boundary, overlap, pixel_accuracy, rates, surface
from kerasloss.metrics.area import *
from kerasloss.metrics.base import SegmentationMetric
from kerasloss.metrics.boundary import *
from kerasloss.metrics.overlap import *
from kerasloss.metrics.pixel_accuracy import *
from kerasloss.metrics.rates import *
from kerasloss.metrics.surface import *

__all__ = ["SegmentationMetric"]
__all__ += area.__all__
__all__ += boundary.__all__
__all__ += overlap.__all__
__all__ += pixel_accuracy.__all__
__all__ += rates.__all__
__all__ += surface.__all__
