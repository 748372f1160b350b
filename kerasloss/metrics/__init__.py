"""Metrics of segmentations: overlap, surface distance, topology and objects; one file a family.

The functions give one value an image and class; the classes are `keras.metrics.Metric`s that take
the mean over a data set.
"""

from kerasloss.metrics import area, overlap, pixel_accuracy, rates
from kerasloss.metrics.area import *
from kerasloss.metrics.base import SegmentationMetric
from kerasloss.metrics.overlap import *
from kerasloss.metrics.pixel_accuracy import *
from kerasloss.metrics.rates import *

__all__ = ["SegmentationMetric"]
__all__ += area.__all__
__all__ += overlap.__all__
__all__ += pixel_accuracy.__all__
__all__ += rates.__all__
