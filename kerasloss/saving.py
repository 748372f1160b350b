"""Losses by name, and losses as files."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Any

import keras

from kerasloss import _check, losses
from kerasloss.losses.base import SegmentationLoss

_FORMAT = "kerasloss.loss"


def get(identifier: str | dict[str, Any] | SegmentationLoss) -> SegmentationLoss:
    """Returns a loss from its name, its config or itself.

    Args:
        identifier: a class name (`"Dice"`), the name of its functional twin (`"dice"`), a dict as
            `keras.saving.serialize_keras_object` makes it, or a loss.

    Raises:
        ValueError: if there is no such loss; the message lists the names.

    Example:

    >>> kerasloss.get("dice").name
    'dice'
    """
    if isinstance(identifier, SegmentationLoss):
        return identifier
    if isinstance(identifier, dict):
        return _from_config(identifier, "get")
    classes: dict[str, type[SegmentationLoss]] = {
        name: value
        for name in losses.__all__
        if isinstance(value := getattr(losses, name), type) and value is not SegmentationLoss
    }
    for name, loss in classes.items():
        if identifier in (name, getattr(loss.function, "__name__", None)):
            return loss()
    names = {name.lower(): name for name in classes}
    near = difflib.get_close_matches(str(identifier).lower(), names, n=1)
    remedy = f"Did you mean {names[near[0]]!r}?" if near else ""
    raise _check.error("get", f"one of {', '.join(sorted(classes))}", repr(identifier), remedy)


def save(loss: SegmentationLoss, path: str | os.PathLike[str]) -> None:
    """Writes a loss with all its options to a JSON file that `load` reads.

    A `Compound` is saved with its starting weights and options, not with the state of a training;
    that is what `model.save` keeps.

    Args:
        loss: the loss.
        path: the file; replaced if it exists.
    """
    if not isinstance(loss, SegmentationLoss):
        raise _check.error("save", "a kerasloss loss", repr(loss))
    config = _without_state(keras.saving.serialize_keras_object(loss))
    text = json.dumps({"format": _FORMAT, "version": 1, "loss": config}, indent=2)
    path = Path(path)
    partial = path.with_name(path.name + ".part")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def load(path: str | os.PathLike[str]) -> SegmentationLoss:
    """Reads a loss that `save` wrote.

    Only classes that are registered with Keras are made; the file cannot import anything.

    Args:
        path: the file.

    Raises:
        ValueError: if the file is not such a loss; the message names the file and the fault.
        FileNotFoundError: if there is no such file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as fault:
        raise _check.error("load", f"{str(path)!r} to be a JSON file", str(fault)) from fault
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise _check.error(
            "load", f"{str(path)!r} to be a file that kerasloss.save wrote", _short(content)
        )
    if content.get("version") != 1:
        raise _check.error(
            "load",
            f"version 1 in {str(path)!r}",
            repr(content.get("version")),
            "It was written by a newer kerasloss: update with `pip install -U kerasloss`.",
        )
    return _from_config(content.get("loss"), str(path))


def _without_state(config: dict[str, Any]) -> dict[str, Any]:
    """A file describes a loss, not one particular state of one; also where a wrapper holds it."""
    inner = dict(config["config"])
    inner.pop("state", None)
    if isinstance(inner.get("loss"), dict):
        inner["loss"] = _without_state(inner["loss"])
    return {**config, "config": inner}


def _from_config(config: Any, source: str) -> SegmentationLoss:
    _check_registered(config, source)
    try:
        loss = keras.saving.deserialize_keras_object(config)
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        raise _check.error(source, "the config of a kerasloss loss", str(fault)) from fault
    if not isinstance(loss, SegmentationLoss):
        raise _check.error(source, "the config of a kerasloss loss", _short(config))
    return loss


def _check_registered(config: Any, source: str) -> None:
    """Refuses class names that are not registered: Keras would import the module they name."""
    if isinstance(config, dict):
        if "class_name" in config or "module" in config:
            name = config.get("registered_name")
            if keras.saving.get_registered_object(name) is None:
                raise _check.error(
                    source,
                    "losses that are registered with Keras",
                    f"class {config.get('class_name')!r}",
                    "Import the module that defines it first.",
                )
        for value in config.values():
            _check_registered(value, source)
    elif isinstance(config, list):
        for value in config:
            _check_registered(value, source)


def _short(content: Any) -> str:
    text = repr(content)
    return text if len(text) < 80 else f"{text[:77]}..."
