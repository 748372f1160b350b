"""What the search may vary, as plain data: terms, weights, parameters, strategy, optimiser."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from kerasloss_search.catalogue import AUXILIARY, BASELINES, TERMS, Choice, Range, Term

__all__ = ["FUSED", "OPTIMIZERS", "OWN_STEP", "STRATEGIES", "Recipe", "Space", "is_dotted"]

# In one compiled step these strategies differ by a number alone.
FUSED = ("static", "var", "mad", "bayes")
# Those that a training step has to be compiled for.
OWN_STEP = (
    "soft_adapt",
    "dynamic_weight_average",
    "coefficient_of_variation",
    "relobralo",
    "random",
    "gradient_balance",
)
STRATEGIES = FUSED + OWN_STEP
OPTIMIZERS = ("adam", "adamw", "nadam", "rmsprop", "sgd", "lion")

# A dynamic strategy that never gets past its warm-up is a static one.
_NEVER = 1e9


def is_dotted(name: str) -> bool:
    """Whether a name is that of a user's own loss or strategy, `package.module:Name`."""
    module, colon, attribute = name.partition(":")
    parts = [*module.split("."), attribute]
    return bool(colon) and all(part.isidentifier() for part in parts)


@dataclass(frozen=True)
class Recipe:
    """One point of the space, decoded: everything that a training needs to know of its loss.

    Attributes:
        weights: term -> starting weight; those above 0 sum to 1.
        options: term -> option -> value, for the terms in use.
        strategy: a name in `Space.strategies`.
        warmup: steps before a dynamic strategy moves the weights.
        auxiliary_scale: weight of the auxiliary term at the start; 0 for none.
        auxiliary_decay: its decay rate a step.
        learning_rate: of the optimiser.
        optimizer: its name.
        auxiliary: name of the auxiliary term.
        family: losses that converge alike have the same: `"region"`, `"boundary+region"`, ...
    """

    weights: Mapping[str, float]
    options: Mapping[str, Mapping[str, float]]
    strategy: str
    warmup: float
    auxiliary_scale: float
    auxiliary_decay: float
    learning_rate: float
    optimizer: str = "adam"
    auxiliary: str = AUXILIARY
    family: str = ""

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms in use."""
        return tuple(term for term, weight in self.weights.items() if weight > 0)

    @property
    def fingerprint(self) -> str:
        """The same for recipes that are trained alike, and for no others."""
        found = asdict(self)
        del found["family"]
        return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """A short name for tables."""
        parts = sorted(self.terms, key=lambda term: -self.weights[term])
        name = " + ".join(
            f"{self.weights[term]:.2f} {term}" if len(parts) > 1 else term for term in parts
        )
        if self.auxiliary_scale > 0:
            name += f" + decaying {self.auxiliary}"
        return name if self.strategy == "static" else f"{name} ({self.strategy})"


@dataclass(frozen=True)
class Space:
    """The search space.

    Every number is drawn in every trial, used or not: the sampler models only parameters that are
    always present jointly, and the set of parameters must not change when a study is resumed.

    Attributes:
        terms: name -> term to choose from; `Space.of` makes them from names.
        max_terms: how many at once.
        weights: range of a term's share before the shares are divided by their sum.
        strategies: names to choose from, `static` among them.
        auxiliary: name of the term that may be added and fades away, or None.
        optimizers: names to choose from.
        learning_rate: range of the learning rate.
        usual_learning_rate: that of the baselines.
        steps: training steps of a whole trial; warm-up and decay are fractions of it.
    """

    terms: Mapping[str, Term] = field(default_factory=lambda: _usual_terms())
    max_terms: int = 3
    weights: Range = Range(0.05, 1.0)
    strategies: tuple[str, ...] = FUSED
    auxiliary: str | None = AUXILIARY
    optimizers: tuple[str, ...] = ("adam",)
    learning_rate: Range = Range(3e-4, 1e-2, log=True)
    usual_learning_rate: float = 2e-3
    steps: int = 500

    @classmethod
    def of(
        cls,
        names: Sequence[str] = (),
        ranges: Mapping[str, Mapping[str, Range | float | str | bool]] | None = None,
        **options: Any,
    ) -> Space:
        """A space from names.

        Args:
            names: of the terms: those of `catalogue.TERMS` or a user's own, `package.module:Name`;
                none for the usual ones.
            ranges: term -> option -> range to search, or a value to keep.
            **options: the other attributes.

        Raises:
            ValueError: for a name that is unknown, or fewer than two terms.
        """
        terms = {name: _term(name) for name in names} if names else _usual_terms()
        for name, changes in (ranges or {}).items():
            if name not in terms:
                raise ValueError(
                    f"terms: {name!r} is given ranges but is not among the terms to choose from, "
                    f"{', '.join(terms)}."
                )
            terms[name] = _changed(name, terms[name], changes)
        return cls(terms=terms, **options)

    def __post_init__(self) -> None:
        if len(self.terms) < 2:
            raise ValueError(
                f"terms: expected at least two of {', '.join(TERMS)}. "
                f"Received: {', '.join(self.terms) or 'none'}."
            )
        if "static" not in self.strategies:
            raise ValueError(
                "strategies: expected `static` among them, since a single term has no other. "
                f"Received: {', '.join(self.strategies) or 'none'}."
            )
        for name in self.strategies:
            if name not in STRATEGIES and not is_dotted(name):
                raise ValueError(
                    f"strategies: expected names out of {', '.join(STRATEGIES)} or "
                    f"package.module:Name. Received: {name!r}."
                )
        for name in self.optimizers:
            if name not in OPTIMIZERS:
                raise ValueError(
                    f"optimizers: expected names out of {', '.join(OPTIMIZERS)}. "
                    f"Received: {name!r}."
                )
        if not self.optimizers:
            raise ValueError(f"optimizers: expected at least one of {', '.join(OPTIMIZERS)}.")
        if self.auxiliary is not None and self.auxiliary not in TERMS:
            raise ValueError(
                f"auxiliary: expected one of {', '.join(TERMS)}. Received: {self.auxiliary!r}."
            )

    @property
    def dimensions(self) -> dict[str, Range | Choice]:
        """Parameter name -> what values it may take."""
        found: dict[str, Range | Choice] = {}
        for name, term in self.terms.items():
            found[f"use/{name}"] = Choice((False, True))
            found[f"share/{name}"] = self.weights
            for option, limits in term.ranges.items():
                found[f"{name}/{option}"] = limits
        found["strategy"] = Choice(self.strategies)
        found["warmup"] = Range(0.05, 0.5)
        if self.auxiliary is not None:
            found["auxiliary"] = Choice((False, True))
            found["auxiliary_scale"] = Range(0.1, 5.0, log=True)
            found["auxiliary_half_life"] = Range(0.02, 0.5, log=True)
        if len(self.optimizers) > 1:
            found["optimizer"] = Choice(self.optimizers)
        found["learning_rate"] = self.learning_rate
        return found

    @property
    def fingerprint(self) -> str:
        """Changes whenever two trials of two spaces could not be compared."""
        text = json.dumps(
            {name: asdict(limits) for name, limits in self.dimensions.items()}
            | {
                "max_terms": self.max_terms,
                "fixed": {name: dict(term.fixed) for name, term in self.terms.items()},
                "auxiliary_term": self.auxiliary,
                "optimizers": self.optimizers,
            },
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
        half_life = float(params.get("auxiliary_half_life", 1.0)) * self.steps
        scale = float(params["auxiliary_scale"]) if params.get("auxiliary") else 0.0
        families = [self.terms[term].family for term in used]
        if scale > 0 and self.auxiliary is not None:
            families.append(TERMS[self.auxiliary].family)
        return Recipe(
            weights={term: shares[term] / total if term in used else 0.0 for term in self.terms},
            options={
                name: {option: float(params[f"{name}/{option}"]) for option in term.ranges}
                for name, term in self.terms.items()
                if name in used
            },
            strategy=strategy,
            warmup=_NEVER if strategy == "static" else max(2.0, params["warmup"] * self.steps),
            auxiliary_scale=scale,
            auxiliary_decay=0.6931 / max(1.0, half_life),
            learning_rate=float(params["learning_rate"]),
            optimizer=str(params.get("optimizer", self.optimizers[0])),
            auxiliary=self.auxiliary or AUXILIARY,
            # A term may be a sum itself, such as unified_focal.
            family="+".join(sorted({part for one in families for part in one.split("+")})),
        )

    def used(self, params: Mapping[str, Any]) -> set[str]:
        """Names of the parameters that make a difference to the loss they stand for."""
        recipe = self.decode(params)
        found = {name for name in params if name.startswith("use/")}
        found |= {"auxiliary", "optimizer", "learning_rate"} & set(params)
        for term in recipe.terms:
            found |= {f"{term}/{option}" for option in self.terms[term].ranges}
        if len(recipe.terms) > 1:
            found |= {"strategy", *(f"share/{term}" for term in recipe.terms)}
        if recipe.strategy in FUSED and recipe.strategy != "static":
            found.add("warmup")
        if recipe.auxiliary_scale > 0:
            found |= {"auxiliary_scale", "auxiliary_half_life"}
        return found

    def structure(self, recipe: Recipe) -> tuple[str, ...]:
        """Names the training step that a recipe needs: equal for recipes that can share one.

        Terms that cost little ride along with weight 0, so that one step serves all of them. What
        takes time or cannot be set from outside has a step of its own.
        """
        parts = [f"optimizer {recipe.optimizer}"]
        if recipe.strategy not in FUSED:
            parts.append(f"strategy {recipe.strategy}")
        if is_dotted(recipe.strategy):
            # It may look at terms of weight 0, too, so none may ride along.
            parts.append(f"terms {' '.join(sorted(recipe.terms))}")
        for name in recipe.terms:
            if is_dotted(name):
                # A user's own loss may hold its numbers as constants.
                parts.append(f"term {name} {json.dumps(recipe.options[name], sort_keys=True)}")
            elif self.terms[name].costly:
                parts.append(f"term {name}")
        return tuple(parts)

    def baselines(self) -> dict[str, dict[str, Any]]:
        """Name -> parameters of every plain loss that this space contains."""
        return {
            name: self._plain(weights)
            for name, weights in BASELINES.items()
            if set(weights) <= set(self.terms) and len(weights) <= self.max_terms
        }

    def _plain(self, weights: Mapping[str, float]) -> dict[str, Any]:
        params: dict[str, Any] = {}
        middle = (self.weights.low + self.weights.high) / 2
        for name, term in self.terms.items():
            params[f"use/{name}"] = name in weights
            params[f"share/{name}"] = middle
            for option, limits in term.ranges.items():
                # The usual value, even where the search was told to look elsewhere.
                params[f"{name}/{option}"] = term.usual.get(option, (limits.low + limits.high) / 2)
        params |= {"strategy": "static", "warmup": 0.2}
        if self.auxiliary is not None:
            params |= {"auxiliary": False, "auxiliary_scale": 1.0, "auxiliary_half_life": 0.1}
        if len(self.optimizers) > 1:
            params["optimizer"] = self.optimizers[0]
        return params | {"learning_rate": self.usual_learning_rate}


def _usual_terms() -> dict[str, Term]:
    return {name: term for name, term in TERMS.items() if term.usually}


def _term(name: str) -> Term:
    if name in TERMS:
        return TERMS[name]
    if is_dotted(name):
        return Term(family=name, costly=True)
    raise ValueError(
        f"terms: expected names out of {', '.join(TERMS)} or package.module:Name. "
        f"Received: {name!r}."
    )


def _changed(name: str, term: Term, changes: Mapping[str, Range | float | str | bool]) -> Term:
    ranges, fixed, usual = dict(term.ranges), dict(term.fixed), dict(term.usual)
    for option, value in changes.items():
        ranges.pop(option, None)
        fixed.pop(option, None)
        if isinstance(value, Range):
            ranges[option] = value
            # A step that is compiled without a number for it could not be set to one later.
            usual.setdefault(option, _default(name, option, value))
        else:
            fixed[option] = value
            # Else a step in which the term rides along would be compiled with the usual value.
            usual.pop(option, None)
    return replace(term, ranges=ranges, fixed=fixed, usual=usual)


def _default(name: str, option: str, limits: Range) -> float:
    """What a plain loss has for an option: the loss's own default, if that is a number."""
    if not is_dotted(name):
        # Only where it is needed: it imports Keras.
        import kerasloss

        value = kerasloss.get(name).get_config().get(option)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    return (limits.low + limits.high) / 2
