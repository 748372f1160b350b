"""The losses, one file a family; a new loss touches its family's file alone."""

from kerasloss.losses import balanced, boundaries, bounded, distribution, extremes, focusing, region
from kerasloss.losses.balanced import *
from kerasloss.losses.base import SegmentationLoss
from kerasloss.losses.boundaries import *
from kerasloss.losses.bounded import *
from kerasloss.losses.distribution import *
from kerasloss.losses.extremes import *
from kerasloss.losses.focusing import *
from kerasloss.losses.region import *

__all__ = ["SegmentationLoss"]
__all__ += balanced.__all__
__all__ += boundaries.__all__
__all__ += bounded.__all__
__all__ += distribution.__all__
__all__ += focusing.__all__
__all__ += extremes.__all__
__all__ += region.__all__
