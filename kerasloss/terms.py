"""The terms of a compound: what may be one, with which starting weight, its copy, its values."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kerasloss import _check
from kerasloss.losses.base import SegmentationLoss, mean_of_images
from kerasloss.losses.distances import targets
from kerasloss.ops.pixels import Tensor
from kerasloss.weighting import LogVariances, Weighting

_RESERVED = ("weights", "weighting", "auxiliary_scale", "auxiliary_decay", "loss")


def check_terms(terms: Any, weighting: Any, auxiliary: Any, *, nested: type) -> None:
    """Refuses anything but named losses, a strategy or None, and a loss or None."""
    if not isinstance(terms, Mapping) or not terms:
        raise _check.error("Compound", "`terms` to be a dict of name -> loss", repr(terms))
    for term, loss in terms.items():
        if not isinstance(term, str) or not term or "/" in term or term in _RESERVED:
            raise _check.error(
                "Compound",
                f"term names without '/' and other than {', '.join(_RESERVED)}",
                repr(term),
            )
        _check_loss(term, loss, nested)
    if auxiliary is not None:
        _check_loss("auxiliary", auxiliary, nested)
        if "auxiliary" in terms:
            raise _check.error("Compound", "no term named 'auxiliary'", "one", "Rename the term.")
    if weighting is not None and not isinstance(weighting, Weighting):
        raise _check.error(
            "Compound", "`weighting` to be a kerasloss.weighting strategy", repr(weighting)
        )
    if weighting is not None and weighting.minimum * len(terms) >= 1:
        raise _check.error(
            "Compound",
            f"`minimum` of the weighting below 1 / {len(terms)}, for {len(terms)} terms",
            f"minimum={weighting.minimum!r}",
        )


def _check_loss(term: str, loss: Any, nested: type) -> None:
    if isinstance(loss, SegmentationLoss) and isinstance(loss.tuned(), nested):
        raise _check.error(
            "Compound", f"a plain loss for {term!r}", "a Compound", "Name all terms in one."
        )
    if not isinstance(loss, SegmentationLoss):
        raise _check.error(
            "Compound",
            f"an instance of a kerasloss loss for {term!r}",
            repr(loss),
            "A loss of your own joins by subclassing kerasloss.losses.SegmentationLoss.",
        )


def starting_weights(terms: tuple[str, ...], weights: Any) -> list[float]:
    """The weights in the order of the terms, by default equal ones that sum to 1."""
    if weights is None:
        return [1.0 / len(terms)] * len(terms)
    if not isinstance(weights, Mapping) or set(weights) != set(terms):
        raise _check.error(
            "Compound", f"`weights` to be a dict with the names {list(terms)}", repr(weights)
        )
    for term in terms:
        _check.number("Compound", f"weights[{term!r}]", weights[term], minimum=0.0)
    if not any(weights[term] > 0 for term in terms):
        raise _check.error("Compound", "at least one weight above 0", repr(dict(weights)))
    return [float(weights[term]) for term in terms]


def log_variances_in(model: keras.Model, terms: tuple[str, ...]) -> LogVariances:
    """The layer of a model that holds the log-variances of these terms."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, LogVariances)]
    fitting = [layer for layer in layers if set(layer.terms) == set(terms)]
    if len(fitting) != 1:
        names = [layer.terms for layer in layers]
        raise _check.error(
            "Uncertainty",
            f"a model with one layer kerasloss.LogVariances({list(terms)})",
            f"a model with {'those of ' + ', '.join(map(str, names)) if names else 'none'}",
            "Put one around it: "
            f"model = keras.Sequential([model, kerasloss.LogVariances({list(terms)})]).",
        )
    return fitting[0]


def copy_part(part: Any, as_numbers: Collection[str] = ()) -> Any:
    """A copy of a loss or strategy, sharing with the original only variables that users made.

    Args:
        part: the loss or strategy.
        as_numbers: options whose variables are not shared either.
    """
    if isinstance(part, Weighting):
        # Not by way of its config: that of a schedule cannot hold any function.
        shallow = copy.copy(part)
        for option in as_numbers:
            value = getattr(shallow, option)
            if _check.is_variable(value):
                setattr(shallow, option, float(ops.convert_to_numpy(value.value)))
        return shallow
    copied = type(part).from_config(part.get_config())
    original, tuned = part.tuned(), copied.tuned()
    for option in original.tunable:
        if _check.is_variable(getattr(original, option)) and option not in as_numbers:
            setattr(tuned, option, getattr(original, option))
    return copied


def per_image(
    losses: Sequence[SegmentationLoss], y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None
) -> list[tuple[Tensor, Tensor | None]]:
    """For every loss its value for each image, and how often the image counts."""
    found = []
    for loss, target in zip(losses, targets(losses, y_true, y_pred), strict=True):
        values = loss.values(target, y_pred, sample_weight)
        if len(values.shape) != 1:
            raise _check.error(
                "Compound",
                f"the values of `{loss.name}` to have the shape (batch,)",
                f"shape {tuple(values.shape)}",
                "`values` of a loss of your own returns one number an image.",
            )
        found.append((values, loss.image_weight(target, y_pred, sample_weight)))
    return found


def means_of(images: Sequence[tuple[Tensor, Tensor | None]]) -> list[Tensor]:
    """The mean over the images of the batch, for every loss."""
    return [mean_of_images(value, weight) for value, weight in images]


def chain_to_logits(
    losses: Sequence[SegmentationLoss],
) -> Callable[[Tensor, Tensor], Tensor] | None:
    """What makes of predictions and a gradient there the gradient at the logits; None for logits.

    At a probability the gradient has no bound: a logarithm falls ever faster towards 0.
    """
    if all(getattr(loss.tuned(), "from_logits", False) for loss in losses):
        return None
    return _of_sigmoid if any(loss.independent for loss in losses) else _of_softmax


def _of_sigmoid(probability: Tensor, gradient: Tensor) -> Tensor:
    return gradient * probability * (1.0 - probability)


def _of_softmax(probability: Tensor, gradient: Tensor) -> Tensor:
    if int(probability.shape[-1]) == 1:
        return _of_sigmoid(probability, gradient)
    common = ops.sum(gradient * probability, axis=-1, keepdims=True)
    return probability * (gradient - common)
