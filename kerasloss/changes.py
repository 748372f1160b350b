"""What `Compound.assign` is asked to change, checked as a whole before anything changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from kerasloss import _check
from kerasloss.state import CompoundState
from kerasloss.terms import starting_weights

_OWNER = "Compound.assign"
_AUXILIARY = ("auxiliary_scale", "auxiliary_decay")


def planned(
    changes: Mapping[str, Any],
    parts: Mapping[str, Any],
    state: CompoundState,
    starting: Callable[[], dict[str, float]],
) -> list[tuple[keras.Variable, Any]]:
    """The variables that are to change, and their new values.

    Args:
        changes: as `Compound.assign` takes them.
        parts: everything that has options, by the name that `assign` knows it by.
        state: the variables.
        starting: gives the starting weight of every term.

    Raises:
        ValueError: for a name or option that does not exist, or a value out of range.
    """
    plan: list[tuple[keras.Variable, Any]] = []
    for owner, change in changes.items():
        if owner not in _AUXILIARY and not isinstance(change, Mapping):
            raise _check.error(_OWNER, f"a dict for `{owner}`", repr(change))
        if owner == "weights":
            now = starting()
            unknown = set(change) - set(now)
            if unknown:
                raise _check.error(_OWNER, f"terms {list(now)}", f"{unknown}")
            wanted = starting_weights(tuple(now), {**now, **change})
            plan += [(state.weights_start, wanted), (state.weights_now, wanted)]
        elif owner in _AUXILIARY:
            plan.append((_setting(state, owner), change))
            _check.number(_OWNER, owner, change, minimum=0.0)
        elif owner in parts:
            for option, value in change.items():
                plan.append((_setting(state, f"{owner}/{option}"), value))
                _check.number(_OWNER, f"{owner}[{option!r}]", value)
            # Made anew only to run the checks of its constructor.
            type(parts[owner]).from_config({**parts[owner].get_config(), **change})
        else:
            raise _check.error(_OWNER, f"one of {['weights', *parts]}", f"{owner!r}")
    return plan


def _setting(state: CompoundState, setting: str) -> keras.Variable:
    if setting not in state.settings:
        raise _check.error(
            _OWNER, f"a numeric option, one of {sorted(state.settings)}", repr(setting)
        )
    return state.settings[setting]
