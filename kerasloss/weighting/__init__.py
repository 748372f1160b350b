"""Strategies that turn the past values of several losses into their weights."""

from kerasloss.weighting.base import Weighting
from kerasloss.weighting.memory_fusion import DynamicMemoryFusion

__all__ = ["DynamicMemoryFusion", "Weighting"]
