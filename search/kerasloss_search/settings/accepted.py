"""What the losses of the catalogue accept, told without importing Keras.

A test holds this table against the losses themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from kerasloss_search.catalogue import Range
from kerasloss_search.settings.wording import Wrong, is_number, nearest, shown

__all__ = ["ACCEPTED", "Accepted", "checked_option", "limits_of"]


@dataclass(frozen=True)
class Accepted:
    """What one option of a loss may be.

    Attributes:
        low: smallest number.
        high: largest number.
        above: whether the smallest itself is left out.
        whole: whether only whole numbers will do.
        words: what it may be instead of a number.
        tunable: whether it may vary from trial to trial; others shape the training step.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    whole: bool = False
    words: tuple[str | bool, ...] = ()
    tunable: bool = True

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        if self.words:
            return " or ".join(shown(word) for word in self.words)
        text = f"a {'whole ' if self.whole else ''}number"
        if math.isfinite(self.low):
            text += f" {'>' if self.above else '>='} {self.low:g}"
        if math.isfinite(self.high):
            text += f"{' and' if math.isfinite(self.low) else ''} <= {self.high:g}"
        return text

    def takes(self, value: Any) -> bool:
        """Whether the loss would accept a value."""
        if self.words:
            return any(type(value) is type(word) and value == word for word in self.words)
        if not is_number(value) or (self.whole and not isinstance(value, int)):
            return False
        return (
            math.isfinite(value)
            and value <= self.high
            and (value > self.low if self.above else value >= self.low)
        )


_COUNT = Accepted(low=0.0)
_SHARE = Accepted(low=0.0, high=1.0)
_POSITIVE = Accepted(low=0.0, above=True)
_SWITCH = Accepted(words=(True, False), tunable=False)
_REGION = {"smooth": _COUNT, "pool": Accepted(words=("image", "batch"), tunable=False)}
_SOFT = {"soft_labels": _SWITCH}
_DISTANCES = {"normalize": _SWITCH, "spacing": Accepted(low=0.0, above=True, tunable=False)}

# What the search itself sets (`from_logits`, `ignore_class`) or takes no part in is left out, and
# so is what needs data that it does not prepare (`precomputed`).
ACCEPTED: dict[str, dict[str, Accepted]] = {
    "cross_entropy": {"label_smoothing": _SHARE},
    "weighted_cross_entropy": {"positive_weight": _POSITIVE, "label_smoothing": _SHARE},
    "focal": {"gamma": _COUNT, "alpha": _SHARE, "label_smoothing": _SHARE},
    "adaptive_focal": {"smoothness": Accepted(words=("surface", "volume"), tunable=False)},
    "exponential": {"foreground_weight": _COUNT},
    "distance_map": {"kind": Accepted(words=("object", "image"), tunable=False)},
    "dice": {**_REGION, **_SOFT, "squared": _SWITCH},
    "iou": {**_REGION, **_SOFT, "squared": _SWITCH},
    "tversky": {"alpha": _COUNT, "beta": _COUNT, **_REGION, **_SOFT},
    "cb_dice": _REGION,
    "poly": {"epsilon": Accepted(low=-1.0), "gamma": _COUNT, "alpha": _SHARE},
    "asymmetric": {"positive_gamma": _COUNT, "negative_gamma": _COUNT, "margin": _SHARE},
    "top_k_cross_entropy": {"fraction": Accepted(low=0.0, high=1.0, above=True)},
    "jaccard_distance": _REGION,
    "focal_tversky": {"alpha": _COUNT, "beta": _COUNT, "gamma": _COUNT, **_REGION},
    "generalized_dice": _REGION,
    "log_cosh_dice": _REGION,
    "mcc": _REGION,
    "unified_focal": {
        "symmetric": _SWITCH,
        "delta": _SHARE,
        "gamma": _SHARE,
        "weight": _SHARE,
        "smooth": _COUNT,
    },
    "lovasz": {"pool": Accepted(words=("image", "batch"), tunable=False)},
    "boundary": _DISTANCES,
    "hausdorff": {"alpha": _POSITIVE, "one_sided": _SWITCH, "log": _SWITCH, **_DISTANCES},
    "cl_dice": {
        "alpha": _SHARE,
        "iterations": Accepted(low=0.0, whole=True, tunable=False),
        **_REGION,
    },
}


def checked_option(term: str, option: str, value: Any) -> Range | float | str | bool:
    """A range to search or a value to keep, for an option of a term.

    A user's own term may have any option; what it accepts only its class can tell.

    Raises:
        Wrong: if the loss would not accept it.
    """
    found = limits_of(value)
    accepted = ACCEPTED.get(term)
    if accepted is None:
        return found if found is not None else _single(value)
    if option not in accepted:
        raise Wrong(
            f"an option of {term} ({', '.join(accepted)})", option, nearest(option, accepted)
        )
    limits = accepted[option]
    if found is None:
        value = _single(value)
        if not limits.takes(value):
            raise Wrong(limits.expected, value)
        return value if limits.words or limits.whole else float(value)
    if not limits.tunable:
        raise Wrong(f"{limits.expected}, and no range", value)
    for end in (found.low, found.high):
        if not limits.takes(end):
            raise Wrong(f"limits that are each {limits.expected}", value)
    return found


def limits_of(value: Any) -> Range | None:
    """The range that `[low, high]` or `{low = ..., high = ..., log = true}` stands for.

    Raises:
        Wrong: for a list or a table that is no range.
    """
    if isinstance(value, Range):
        value = {"low": value.low, "high": value.high, "log": value.log}
    if isinstance(value, (list, tuple)):
        low, high = value if len(value) == 2 else (None, None)
        log = False
    elif isinstance(value, dict):
        for key in value:
            if key not in ("low", "high", "log"):
                raise Wrong("low, high and log", key, nearest(key, ("low", "high", "log")))
        low, high, log = value.get("low"), value.get("high"), value.get("log", False)
    else:
        return None
    if not is_number(low) or not is_number(high) or not isinstance(log, bool):
        raise Wrong("[low, high] or {low = ..., high = ..., log = true}", value)
    if not low < high:
        raise Wrong("low < high", value)
    if log and low <= 0:
        raise Wrong("low > 0, since the range is logarithmic", value)
    return Range(float(low), float(high), log)


def _single(value: Any) -> float | str | bool:
    if isinstance(value, (bool, str)) or is_number(value):
        return value
    raise Wrong("[low, high], {low = ..., high = ..., log = true} or a single value", value)
