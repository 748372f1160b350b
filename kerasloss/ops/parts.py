"""Target and prediction class by class, which is how most formulas look at a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kerasloss.ops.pixels import EPSILON, Pixels, Tensor, divide
from kerasloss.ops.placement import compact, is_eager, known_hard
from kerasloss.ops.power import is_product, product_power
from kerasloss.ops.sums import space_mean, space_sum

# Up to so many classes a compiler gets them one by one, and moves nothing.
_FEW = 8

Source = Callable[[], Tensor]


class Part:
    """Some classes of a batch, `(batch, classes, *space)`: a single one, or all of them at once.

    The classes come before the pixels, for a last axis with few entries, or one, is no vector to
    the loops of a CPU. Nothing is computed before it is read. `target` is 1 in a part that holds,
    for every pixel, the class that is true.
    """

    def __init__(
        self,
        target: Tensor,
        log: Source,
        probability: Source,
        rest: Source | None = None,
        log_rest: Source | None = None,
    ) -> None:
        self.target = target
        self._log = log
        self._probability = probability
        # No default that refers to this object: tensors in a circle outlive the training step.
        self._rest = rest
        self._log_rest = log_rest

    @functools.cached_property
    def probability(self) -> Tensor:
        """The predicted probability p."""
        return self._probability()

    @functools.cached_property
    def rest(self) -> Tensor:
        """1 - p."""
        return self._rest() if self._rest else 1.0 - self.probability

    @functools.cached_property
    def log(self) -> Tensor:
        """log(p)."""
        return self._log()

    @functools.cached_property
    def log_rest(self) -> Tensor:
        """log(1 - p)."""
        return self._log_rest() if self._log_rest else _log(self.rest)

    def fade(self, gamma: Any) -> Tensor:
        """`(1 - p) ** gamma` of the focal losses, with a finite slope for every gamma >= 0."""
        if is_product(gamma):
            return product_power(self.rest, gamma) if gamma else 1.0
        return ops.exp(ops.cast(gamma, self.log_rest.dtype) * self.log_rest)


def parts(pixels: Pixels, *, background: bool = True, apart: bool = False) -> list[Part]:
    """The classes of a batch, class 0 first: one a part, or all in one part, whichever is faster.

    Args:
        pixels: the batch.
        background: whether one sigmoid channel gives both classes, or the foreground alone.
        apart: whether there must be one part a class.
    """
    if pixels.channels == 1:
        foreground = _binary(first(pixels.target), first(pixels.pred), pixels.from_logits)
        return [_mirrored(foreground), foreground] if background else [foreground]
    if is_eager() or pixels.channels > _FEW:
        whole = _whole(pixels)
        return [_slice(whole, c) for c in range(pixels.channels)] if apart else [whole]
    each = range(pixels.channels)
    preds = [ops.expand_dims(pixels.pred[..., c], 1) for c in each]
    if pixels.labels is None:
        targets = [ops.expand_dims(pixels.target[..., c], 1) for c in each]
    else:
        labels = ops.expand_dims(pixels.labels, 1)
        targets = [ops.cast(labels == c, pixels.dtype) for c in each]
    if not pixels.from_logits:
        return [_given(target, pred) for target, pred in zip(targets, preds, strict=True)]
    together = _Softmax(preds)
    return [together.part(target, c) for c, target in enumerate(targets)]


def first(tensor: Tensor) -> Tensor:
    """`(batch, *space, classes)` with the classes before the pixels, as in a part."""
    if int(tensor.shape[-1]) == 1:
        return ops.expand_dims(ops.squeeze(tensor, -1), 1)
    return compact(ops.moveaxis(tensor, -1, 1))


def pixel_mean(pixels: Pixels, cost: Tensor) -> Tensor:
    """Weighted mean of a cost of shape `(batch, 1, *space)` over the pixels of each image."""
    if pixels.weight is None:
        return space_mean(cost)[:, 0]
    weight = first(pixels.weight)
    return divide(space_sum(weight * cost), space_sum(weight))[:, 0]


def pixel_cost(
    pixels: Pixels, value: Callable[[Part], Tensor], weights: Sequence[Any] | None = None
) -> Tensor:
    """Sums `target * weight * value(class)` over the classes of every pixel.

    Args:
        pixels: the batch.
        value: what a class costs where it is true.
        weights: one factor a class, each a number or a tensor that broadcasts against
            `(batch, 1, *space)`; None for 1.

    Returns:
        Tensor of shape `(batch, 1, *space)`.
    """
    if pixels.hard or (pixels.channels == 1 and known_hard(pixels.target)):
        # No other class costs anything: one value a pixel in place of one a class.
        cost = value(_likelihood(pixels))
        return cost if weights is None else cost * _own_weight(pixels, weights)
    found = parts(pixels)
    costs = [part.target * value(part) for part in found]
    return over_classes(costs if weights is None else weighted(costs, weights))


def weighted(costs: Sequence[Tensor], weights: Sequence[Any]) -> list[Tensor]:
    """Costs of the shape of their parts, times one weight a class, as in `pixel_cost`."""
    if len(costs) == 1:
        weights = [_side_by_side(weights, costs[0])]
    return [weight * cost for weight, cost in zip(weights, costs, strict=True)]


def over_classes(costs: Sequence[Tensor]) -> Tensor:
    """Sums costs of the shape of their parts over all classes; shape `(batch, 1, *space)`."""
    if int(costs[0].shape[1]) > 1:
        return ops.sum(costs[0], axis=1, keepdims=True)
    return sum(costs[1:], costs[0])


def class_average(costs: Sequence[Tensor], weights: Sequence[Any] | None) -> Tensor:
    """Averages costs of the shape of their parts over the classes; shape `(batch, 1, *space)`."""
    total = over_classes(costs if weights is None else weighted(costs, weights))
    return total / sum(int(cost.shape[1]) for cost in costs)


def cross_entropy_cost(pixels: Pixels, weights: Sequence[Any] | None = None) -> Tensor:
    """Cross-entropy of every pixel, shape `(batch, 1, *space)`; `weights` as in `pixel_cost`."""
    if is_eager() and weights is None and pixels.channels == 1 and pixels.from_logits:
        target, logit = first(pixels.target), first(pixels.pred)
        return ops.binary_crossentropy(target, logit, from_logits=True)
    if pixels.channels > 1:
        # Looking up the weight of the true class costs more than multiplying every class by it.
        pixels = pixels._replace(hard=False)
    return pixel_cost(pixels, lambda part: -part.log, weights)


class _Logit:
    """The two classes of a sigmoid channel, which share all that is expensive."""

    def __init__(self, logit: Tensor) -> None:
        self.logit = logit

    @functools.cached_property
    def positive(self) -> Tensor:
        """Whether the foreground is the likelier class."""
        return self.logit > 0

    @functools.cached_property
    def odds(self) -> Tensor:
        """Probability of the unlikelier class over that of the likelier."""
        return ops.exp(ops.where(self.positive, -self.logit, self.logit))

    @functools.cached_property
    def likelier(self) -> Tensor:
        """Probability of the likelier class."""
        return 1.0 / (1.0 + self.odds)

    @functools.cached_property
    def log_likelier(self) -> Tensor:
        """log(likelier)."""
        return -_log1p(self.odds)

    def probability(self) -> Tensor:
        """That of the foreground."""
        return ops.sigmoid(self.logit)

    def rest(self) -> Tensor:
        """That of the background."""
        if is_eager():
            return ops.sigmoid(-self.logit)
        return ops.where(self.positive, self.odds * self.likelier, self.likelier)

    def log(self) -> Tensor:
        """log(probability)."""
        if is_eager():
            return ops.log_sigmoid(self.logit)
        return ops.where(self.positive, 0.0, self.logit) + self.log_likelier

    def log_rest(self) -> Tensor:
        """log(rest)."""
        if is_eager():
            return ops.log_sigmoid(-self.logit)
        return ops.where(self.positive, -self.logit, 0.0) + self.log_likelier


class _Softmax:
    """The classes of a softmax, which share the sum over them."""

    def __init__(self, logits: Sequence[Tensor]) -> None:
        largest = ops.stop_gradient(functools.reduce(ops.maximum, logits))
        self.logits = [logit - largest for logit in logits]

    @functools.cached_property
    def powers(self) -> list[Tensor]:
        """exp of the logits."""
        return [ops.exp(logit) for logit in self.logits]

    @functools.cached_property
    def total(self) -> Tensor:
        """Sum of the powers."""
        return sum(self.powers[1:], self.powers[0])

    @functools.cached_property
    def scale(self) -> Tensor:
        """1 / total."""
        return 1.0 / self.total

    @functools.cached_property
    def log_total(self) -> Tensor:
        """log(total)."""
        return ops.log(self.total)

    def part(self, target: Tensor, index: int) -> Part:
        """One of the classes."""
        return Part(
            target,
            log=lambda: self.logits[index] - self.log_total,
            probability=lambda: self.powers[index] * self.scale,
        )


def _binary(target: Tensor, pred: Tensor, from_logits: bool) -> Part:
    """The foreground of a single channel."""
    if not from_logits:
        return _given(target, pred)
    logit = _Logit(pred)
    return Part(target, logit.log, logit.probability, logit.rest, logit.log_rest)


def _mirrored(part: Part) -> Part:
    """The other one of two classes."""
    return Part(
        1.0 - part.target,
        log=lambda: part.log_rest,
        probability=lambda: part.rest,
        rest=lambda: part.probability,
        log_rest=lambda: part.log,
    )


def _given(target: Tensor, probability: Tensor) -> Part:
    return Part(target, log=lambda: _log(probability), probability=lambda: probability)


def _whole(pixels: Pixels) -> Part:
    """All classes of a batch in one part."""
    target, pred = first(pixels.target), first(pixels.pred)
    if not pixels.from_logits:
        return _given(target, pred)
    log = functools.cache(lambda: ops.log_softmax(pred, axis=1))
    return Part(
        target,
        log=log,
        probability=lambda: ops.softmax(pred, axis=1),
        rest=lambda: -ops.expm1(log()),
    )


def _slice(whole: Part, index: int) -> Part:
    """One class of all."""
    one = (slice(None), slice(index, index + 1))
    return Part(
        whole.target[one],
        log=lambda: whole.log[one],
        probability=lambda: whole.probability[one],
        rest=lambda: whole.rest[one],
    )


def _likelihood(pixels: Pixels) -> Part:
    """The true class of every pixel; where no class is, its probability is 1."""
    if pixels.channels == 1:
        target = first(pixels.target)
        own = (2.0 * target - 1.0) * first(pixels.pred)
        if not pixels.from_logits:
            own = own + (1.0 - target)
        return _binary(1.0, own, pixels.from_logits)
    log = over_classes([part.target * part.log for part in parts(pixels)])
    return Part(1.0, log=lambda: log, probability=lambda: ops.exp(log))


def _own_weight(pixels: Pixels, weights: Sequence[Any]) -> Tensor:
    """The weight of the true class of every pixel."""
    if pixels.channels == 1:
        return weights[0] + (weights[1] - weights[0]) * first(pixels.target)
    return over_classes(weighted([part.target for part in parts(pixels)], weights))


def _side_by_side(weights: Sequence[Any], cost: Tensor) -> Tensor:
    """Weights on the axis of the classes of a cost."""
    shape = (1,) * len(cost.shape)
    cast = [ops.cast(ops.convert_to_tensor(weight), cost.dtype) for weight in weights]
    return ops.concatenate(
        [weight if len(weight.shape) else ops.reshape(weight, shape) for weight in cast], axis=1
    )


def _log(probability: Tensor) -> Tensor:
    return ops.log(ops.maximum(probability, EPSILON))


def _log1p(value: Tensor) -> Tensor:
    """log(1 + value) for values from 0 to 1, to rounding.

    By the series of the inverse hyperbolic tangent: on a CPU, XLA takes several times as long for
    its own, as it has no vector code for it.
    """
    terms = 17 if keras.backend.standardize_dtype(value.dtype) == "float64" else 8
    base = value / (2.0 + value)
    square = ops.square(base)
    series = 1.0 / (2 * terms - 1)
    for term in range(terms - 2, -1, -1):
        series = series * square + 1.0 / (2 * term + 1)
    return 2.0 * base * series
