"""Strategies that turn the past values of several losses into their weights."""

from kerasloss.weighting.average import DynamicWeightAverage
from kerasloss.weighting.base import Seen, Weighting
from kerasloss.weighting.chance import RandomWeighting, ReLoBRaLo
from kerasloss.weighting.gradient_balance import GradientBalance
from kerasloss.weighting.memory_fusion import DynamicMemoryFusion
from kerasloss.weighting.slope import SoftAdapt
from kerasloss.weighting.static import Schedule, Static
from kerasloss.weighting.uncertainty import LogVariances, Uncertainty
from kerasloss.weighting.variation import CoefficientOfVariation

__all__ = [
    "CoefficientOfVariation",
    "DynamicMemoryFusion",
    "DynamicWeightAverage",
    "GradientBalance",
    "LogVariances",
    "RandomWeighting",
    "ReLoBRaLo",
    "Schedule",
    "Seen",
    "SoftAdapt",
    "Static",
    "Uncertainty",
    "Weighting",
]
