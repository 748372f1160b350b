"""The losses that a search knows, and the plain ones that it has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["AUXILIARY", "BASELINES", "TERMS", "Choice", "Range", "Term"]

AUXILIARY = "cb_dice"


@dataclass(frozen=True)
class Range:
    """A number between two limits, both included."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of several words, or true or false."""

    options: tuple[str | bool, ...]


@dataclass(frozen=True)
class Term:
    """A loss that may be part of the sum, by the name of its function.

    Attributes:
        family: `"region"`, `"distribution"`, `"boundary"` or `"topology"`, or several with a plus
            between them; losses of one family converge alike.
        fixed: options that do not vary.
        ranges: option -> range in which the search looks.
        usual: option -> value in a baseline.
        costly: whether it takes so long that it is computed only where it is in use.
        usually: whether it is among the terms of a search that names none.
        maps: whether it can be given distance maps that are computed before training.
    """

    family: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    usual: Mapping[str, float] = field(default_factory=dict)
    costly: bool = False
    usually: bool = False
    maps: bool = False


_SIDES = {"alpha": Range(0.1, 0.9), "beta": Range(0.1, 0.9)}

TERMS: dict[str, Term] = {
    "cross_entropy": Term("distribution", usually=True),
    "weighted_cross_entropy": Term(
        "distribution",
        ranges={"positive_weight": Range(1.5, 20.0, log=True)},
        usual={"positive_weight": 3.0},
        usually=True,
    ),
    "focal": Term(
        "distribution", ranges={"gamma": Range(0.5, 5.0)}, usual={"gamma": 2.0}, usually=True
    ),
    "adaptive_focal": Term("distribution", usually=True),
    "exponential": Term(
        "distribution",
        ranges={"foreground_weight": Range(0.5, 4.0, log=True)},
        usual={"foreground_weight": 0.8},
        usually=True,
    ),
    # Both sides of the boundary, because the other kind takes time that grows with the objects.
    "distance_map": Term("distribution", fixed={"kind": "image"}, usually=True, maps=True),
    "dice": Term("region", usually=True),
    "iou": Term("region", usually=True),
    "tversky": Term("region", ranges=_SIDES, usual={"alpha": 0.3, "beta": 0.7}, usually=True),
    "cb_dice": Term("region", usually=True),
    "poly": Term("distribution", ranges={"epsilon": Range(-0.9, 5.0)}, usual={"epsilon": 1.0}),
    "asymmetric": Term(
        "distribution",
        ranges={"negative_gamma": Range(0.0, 5.0), "margin": Range(0.0, 0.2)},
        usual={"negative_gamma": 4.0, "margin": 0.05},
    ),
    "top_k_cross_entropy": Term(
        "distribution",
        ranges={"fraction": Range(0.05, 0.9, log=True)},
        usual={"fraction": 0.1},
        costly=True,
    ),
    "jaccard_distance": Term("region"),
    "focal_tversky": Term(
        "region",
        ranges={**_SIDES, "gamma": Range(0.5, 2.0)},
        usual={"alpha": 0.3, "beta": 0.7, "gamma": 0.75},
    ),
    "generalized_dice": Term("region"),
    "log_cosh_dice": Term("region"),
    "mcc": Term("region"),
    "unified_focal": Term(
        "distribution+region",
        ranges={
            "delta": Range(0.5, 0.9),
            "gamma": Range(0.1, 0.9),
            "weight": Range(0.1, 0.9),
        },
        usual={"delta": 0.6, "gamma": 0.5, "weight": 0.5},
        costly=True,
    ),
    "lovasz": Term("region", costly=True),
    "boundary": Term("boundary", costly=True, maps=True),
    "hausdorff": Term(
        "boundary", ranges={"alpha": Range(0.5, 3.0)}, usual={"alpha": 2.0}, costly=True, maps=True
    ),
    "cl_dice": Term(
        "topology", ranges={"alpha": Range(0.1, 0.9)}, usual={"alpha": 0.5}, costly=True
    ),
}

BASELINES: dict[str, dict[str, float]] = {
    "dice + cross-entropy": {"dice": 0.5, "cross_entropy": 0.5},
    "cross-entropy": {"cross_entropy": 1.0},
    "dice": {"dice": 1.0},
    "IoU": {"iou": 1.0},
    "focal": {"focal": 1.0},
}
