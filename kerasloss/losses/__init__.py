"""The losses, one file a family; a new loss touches its family's file alone."""

from kerasloss.losses import (
    asymmetry,
    balanced,
    boundaries,
    bounded,
    correlation,
    curved,
    distribution,
    extremes,
    focusing,
    hardest,
    jaccard,
    polynomial,
    region,
    topology,
    unified,
)
from kerasloss.losses.asymmetry import *
from kerasloss.losses.balanced import *
from kerasloss.losses.base import SegmentationLoss
from kerasloss.losses.boundaries import *
from kerasloss.losses.bounded import *
from kerasloss.losses.correlation import *
from kerasloss.losses.curved import *
from kerasloss.losses.distribution import *
from kerasloss.losses.extremes import *
from kerasloss.losses.focusing import *
from kerasloss.losses.hardest import *
from kerasloss.losses.jaccard import *
from kerasloss.losses.polynomial import *
from kerasloss.losses.region import *
from kerasloss.losses.topology import *
from kerasloss.losses.unified import *

__all__ = ["SegmentationLoss"]
__all__ += asymmetry.__all__
__all__ += balanced.__all__
__all__ += boundaries.__all__
__all__ += bounded.__all__
__all__ += correlation.__all__
__all__ += curved.__all__
__all__ += distribution.__all__
__all__ += extremes.__all__
__all__ += focusing.__all__
__all__ += hardest.__all__
__all__ += jaccard.__all__
__all__ += polynomial.__all__
__all__ += region.__all__
__all__ += topology.__all__
__all__ += unified.__all__
