"""Argument and shape checks, and the one form in which kerasloss reports a mistake."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

# Options that are on or off.
_SWITCHES = frozenset(
    {
        "from_logits",
        "log",
        "normalize",
        "one_sided",
        "precomputed",
        "soft_labels",
        "squared",
    }
)


def error(owner: str, expected: str, received: str, fix: str = "") -> ValueError:
    """Returns a `ValueError`: who complains, what was expected, what came, and the remedy."""
    message = f"`{owner}`: expected {expected}. Received: {received}."
    return ValueError(f"{message} {fix}" if fix else message)


def is_variable(value: object) -> bool:
    """Whether `value` is a `keras.Variable` (its number is not known to Python)."""
    return isinstance(value, keras.Variable)


def number(
    owner: str,
    name: str,
    value: Any,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    above: float = -math.inf,
) -> None:
    """Checks one hyper-parameter: a finite number in its range, or a scalar `keras.Variable`."""
    if is_variable(value):
        if tuple(value.shape) != ():
            raise error(owner, f"`{name}` to be a scalar variable", f"shape={tuple(value.shape)}")
        return
    limits = [
        f"{sign} {limit:g}"
        for sign, limit in ((">=", minimum), ("<=", maximum), (">", above))
        if math.isfinite(limit)
    ]
    expected = f"`{name}` to be a finite number" + (f" {' and '.join(limits)}" if limits else "")
    is_number = isinstance(value, (int, float, np.integer, np.floating))
    if not is_number or isinstance(value, bool) or not math.isfinite(value):
        raise error(owner, expected, f"{name}={value!r}")
    if value < minimum or value > maximum or value <= above:
        raise error(owner, expected, f"{name}={value!r}")


def plain_number(owner: str, name: str, value: Any, **limits: float) -> None:
    """Checks a number that shapes the graph, so that it cannot be a variable."""
    if is_variable(value):
        raise error(owner, f"`{name}` to be a plain number", "a keras.Variable")
    number(owner, name, value, **limits)


def integer(owner: str, name: str, value: Any, *, minimum: int) -> None:
    """Checks a whole number that shapes the graph, so that it cannot be a variable."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise error(owner, f"`{name}` to be an integer >= {minimum}", f"{name}={value!r}")


def choice(owner: str, name: str, value: Any, allowed: Iterable[Any]) -> None:
    """Checks that an option is one of `allowed`."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise error(owner, f"`{name}` to be one of {', '.join(map(repr, allowed))}", f"{value!r}")


def boolean(owner: str, name: str, value: Any) -> None:
    """Checks that an option is `True` or `False`."""
    if not isinstance(value, (bool, np.bool_)):
        raise error(owner, f"`{name}` to be True or False", f"{name}={value!r}")


def class_weight(owner: str, value: Any, num_classes: int | None = None) -> None:
    """Checks one non-negative number a class, not all zero, and their count where it is known."""
    if value is None:
        return
    expected = "`class_weight` to be a sequence of one number >= 0 a class, not all 0"
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, (Sequence, np.ndarray)):
        raise error(owner, expected, f"class_weight={value!r}")
    for entry in value:
        number(owner, "class_weight", entry, minimum=0.0)
    if len(value) < 2 or not sum(float(entry) for entry in value) > 0:
        raise error(owner, expected, f"class_weight={value!r}")
    if num_classes is not None and len(value) != num_classes:
        raise error(
            owner,
            f"{num_classes} numbers in `class_weight`, one a class",
            f"{len(value)} numbers",
            "One sigmoid channel counts as two classes: (background, foreground).",
        )


def ignore_class(owner: str, value: Any) -> None:
    """Checks that `ignore_class` is None or a label value."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer))):
        raise error(owner, "`ignore_class` to be None or an integer label", f"{value!r}")


def spacing(owner: str, value: Any, axes: int | None = None) -> None:
    """Checks one number > 0 for all space axes, or one an axis where their count is known."""
    if value is None:
        return
    steps = value if isinstance(value, (Sequence, np.ndarray)) else [value]
    if isinstance(value, (str, bytes)) or len(steps) == 0:
        raise error(owner, "`spacing` to be a number > 0, or one a space axis", f"{value!r}")
    for step in steps:
        plain_number(owner, "spacing", step, above=0.0)
    if axes is not None and steps is value and len(steps) != axes:
        raise error(owner, f"{axes} numbers in `spacing`, one a space axis", f"spacing={value!r}")


def options(owner: str, values: dict[str, Any]) -> None:
    """Checks every option that several losses share; one word means one thing everywhere."""
    for name, value in values.items():
        if name in ("smooth", "gamma", "beta", "foreground_weight"):
            number(owner, name, value, minimum=0.0)
        elif name == "positive_weight":
            number(owner, name, value, above=0.0)
        elif name == "label_smoothing":
            number(owner, name, value, minimum=0.0, maximum=1.0)
        elif name == "pool":
            choice(owner, name, value, ("image", "batch"))
        elif name in _SWITCHES:
            boolean(owner, name, value)
        elif name == "spacing":
            spacing(owner, value)
        elif name == "class_weight":
            class_weight(owner, value)
        elif name == "ignore_class":
            ignore_class(owner, value)
