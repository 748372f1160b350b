"""What the search may vary, as plain data: terms, weights, parameters, strategy, learning rate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["BASELINES", "STRATEGIES", "TERMS", "Choice", "Range", "Recipe", "Space", "Term"]

STRATEGIES = ("static", "var", "mad", "bayes")
AUXILIARY = "cb_dice"

# A dynamic strategy that never gets past its warm-up is a static one.
_NEVER = 1e9


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
        family: `"region"` or `"distribution"`; losses of one family converge alike.
        fixed: options that do not vary.
        ranges: option -> range in which the search looks.
        usual: option -> value in a baseline.
    """

    family: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    usual: Mapping[str, float] = field(default_factory=dict)


TERMS: dict[str, Term] = {
    "cross_entropy": Term("distribution"),
    "weighted_cross_entropy": Term(
        "distribution",
        ranges={"positive_weight": Range(1.5, 20.0, log=True)},
        usual={"positive_weight": 3.0},
    ),
    "focal": Term("distribution", ranges={"gamma": Range(0.5, 5.0)}, usual={"gamma": 2.0}),
    "adaptive_focal": Term("distribution"),
    "exponential": Term(
        "distribution",
        ranges={"foreground_weight": Range(0.5, 4.0, log=True)},
        usual={"foreground_weight": 0.8},
    ),
    # Both sides of the boundary, because the other kind takes time that grows with the objects.
    "distance_map": Term("distribution", fixed={"kind": "image"}),
    "dice": Term("region"),
    "iou": Term("region"),
    "tversky": Term(
        "region",
        ranges={"alpha": Range(0.1, 0.9), "beta": Range(0.1, 0.9)},
        usual={"alpha": 0.3, "beta": 0.7},
    ),
    "cb_dice": Term("region"),
}

BASELINES: dict[str, dict[str, float]] = {
    "dice + cross-entropy": {"dice": 0.5, "cross_entropy": 0.5},
    "cross-entropy": {"cross_entropy": 1.0},
    "dice": {"dice": 1.0},
    "IoU": {"iou": 1.0},
    "focal": {"focal": 1.0},
}


@dataclass(frozen=True)
class Recipe:
    """One point of the space, decoded: everything that a training needs to know of its loss.

    Attributes:
        weights: term -> starting weight; those above 0 sum to 1.
        options: term -> option -> value, for the terms in use.
        strategy: one of `STRATEGIES`.
        warmup: steps before a dynamic strategy moves the weights.
        auxiliary_scale: weight of the class-balanced Dice at the start; 0 for none.
        auxiliary_decay: its decay rate a step.
        learning_rate: of the optimiser.
    """

    weights: Mapping[str, float]
    options: Mapping[str, Mapping[str, float]]
    strategy: str
    warmup: float
    auxiliary_scale: float
    auxiliary_decay: float
    learning_rate: float

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms in use."""
        return tuple(term for term, weight in self.weights.items() if weight > 0)

    @property
    def family(self) -> str:
        """Losses that converge alike: `"region"`, `"distribution"` or `"mixed"`."""
        families = {TERMS[term].family for term in self.terms}
        if self.auxiliary_scale > 0:
            families.add(TERMS[AUXILIARY].family)
        return families.pop() if len(families) == 1 else "mixed"

    @property
    def label(self) -> str:
        """A short name for tables."""
        parts = sorted(self.terms, key=lambda term: -self.weights[term])
        name = " + ".join(
            f"{self.weights[term]:.2f} {term}" if len(parts) > 1 else term for term in parts
        )
        if self.auxiliary_scale > 0:
            name += f" + decaying {AUXILIARY}"
        return name if self.strategy == "static" else f"{name} ({self.strategy})"


@dataclass(frozen=True)
class Space:
    """The search space.

    Every number is drawn in every trial, used or not: the sampler models only parameters that are
    always present jointly, and the set of parameters must not change when a study is resumed.

    Attributes:
        terms: names of the terms to choose from.
        max_terms: how many at once.
        learning_rate: range of the learning rate.
        usual_learning_rate: that of the baselines.
        steps: training steps of a whole trial; warm-up and decay are fractions of it.
    """

    terms: tuple[str, ...] = tuple(TERMS)
    max_terms: int = 3
    learning_rate: Range = Range(3e-4, 1e-2, log=True)
    usual_learning_rate: float = 2e-3
    steps: int = 500

    def __post_init__(self) -> None:
        unknown = [term for term in self.terms if term not in TERMS]
        if unknown or len(set(self.terms)) < 2:
            raise ValueError(
                f"terms: expected at least two of {', '.join(TERMS)}. "
                f"Received: {', '.join(self.terms)}."
            )

    @property
    def dimensions(self) -> dict[str, Range | Choice]:
        """Parameter name -> what values it may take."""
        found: dict[str, Range | Choice] = {}
        for term in self.terms:
            found[f"use/{term}"] = Choice((False, True))
            found[f"share/{term}"] = Range(0.05, 1.0)
            for option, limits in TERMS[term].ranges.items():
                found[f"{term}/{option}"] = limits
        found["strategy"] = Choice(STRATEGIES)
        found["warmup"] = Range(0.05, 0.5)
        found["auxiliary"] = Choice((False, True))
        found["auxiliary_scale"] = Range(0.1, 5.0, log=True)
        found["auxiliary_half_life"] = Range(0.02, 0.5, log=True)
        found["learning_rate"] = self.learning_rate
        return found

    @property
    def fingerprint(self) -> str:
        """Changes whenever two trials of two spaces could not be compared."""
        text = json.dumps(
            {name: asdict(limits) for name, limits in self.dimensions.items()}
            | {"max_terms": self.max_terms},
            sort_keys=True,
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def decode(self, params: Mapping[str, Any]) -> Recipe:
        """The loss that a set of parameters stands for."""
        shares = {term: float(params[f"share/{term}"]) for term in self.terms}
        used = [term for term in self.terms if params[f"use/{term}"]]
        # No term at all is no loss: then the largest share counts as chosen.
        used = used or [max(shares, key=lambda term: shares[term])]
        used = sorted(used, key=lambda term: -shares[term])[: self.max_terms]
        total = sum(shares[term] for term in used)
        strategy = str(params["strategy"]) if len(used) > 1 else "static"
        half_life = float(params["auxiliary_half_life"]) * self.steps
        return Recipe(
            weights={term: shares[term] / total if term in used else 0.0 for term in self.terms},
            options={
                term: {option: float(params[f"{term}/{option}"]) for option in TERMS[term].ranges}
                for term in self.terms
                if term in used
            },
            strategy=strategy,
            warmup=_NEVER if strategy == "static" else max(2.0, params["warmup"] * self.steps),
            auxiliary_scale=float(params["auxiliary_scale"]) if params["auxiliary"] else 0.0,
            auxiliary_decay=0.6931 / max(1.0, half_life),
            learning_rate=float(params["learning_rate"]),
        )

    def baselines(self) -> dict[str, dict[str, Any]]:
        """Name -> parameters of every plain loss that this space contains."""
        return {
            name: self._plain(weights)
            for name, weights in BASELINES.items()
            if set(weights) <= set(self.terms)
        }

    def _plain(self, weights: Mapping[str, float]) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for term in self.terms:
            params[f"use/{term}"] = term in weights
            params[f"share/{term}"] = weights.get(term, 0.5)
            for option in TERMS[term].ranges:
                params[f"{term}/{option}"] = TERMS[term].usual[option]
        return params | {
            "strategy": "static",
            "warmup": 0.2,
            "auxiliary": False,
            "auxiliary_scale": 1.0,
            "auxiliary_half_life": 0.1,
            "learning_rate": self.usual_learning_rate,
        }
