"""Deep supervision: one loss on outputs of several resolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops
from keras.saving import (
    deserialize_keras_object,
    register_keras_serializable,
    serialize_keras_object,
)

from kerasloss import _check
from kerasloss.compound import Compound
from kerasloss.losses.base import SegmentationLoss
from kerasloss.ops.pixels import Tensor
from kerasloss.ops.resize import nearest
from kerasloss.terms import copy_part


@register_keras_serializable("kerasloss")
class AtResolution(SegmentationLoss):
    """A loss that brings targets and pixel weights to the resolution of the prediction first.

    Use it for an output that is smaller than the masks. `DeepSupervision` makes one for every
    output of a model.

    Formula:

    ```python
    loss_at_resolution = weight * loss(pick(y_true), y_pred, pick(sample_weight))
    ```

    where `pick` gives every pixel of the prediction the value at its centre, so that no classes are
    mixed: labels stay labels and one-hot targets stay one-hot.

    Edge cases: as for `loss`. An object that no centre falls on is not there at that resolution.

    Args:
        loss: a loss of this package, a `Compound` included. Its `reduction` and `dtype` are used.
        weight: factor of the result, a number >= 0.
        name: as in `keras.losses.Loss`; by default that of `loss`.

    Example:

    >>> y_true = np.array([[0, 0, 1, 1]])
    >>> y_pred = np.array([[[0.0], [1.0]]])
    >>> float(kerasloss.AtResolution(kerasloss.Dice())(y_true, y_pred))
    0.0
    """

    def __init__(
        self, loss: SegmentationLoss, *, weight: float = 1.0, name: str | None = None
    ) -> None:
        _check_loss("AtResolution", loss)
        _check.number("AtResolution", "weight", weight, minimum=0.0)
        super().__init__(
            reduction=loss.reduction, name=name or str(loss.name), dtype=loss._given_dtype
        )
        self.loss = loss
        self.weight = float(weight)

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        return self.weight * self.loss(*_picked(y_true, y_pred, sample_weight))

    def values(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return self.weight * self.loss.values(*_picked(y_true, y_pred, sample_weight))

    def image_weight(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor | None:
        return self.loss.image_weight(*_picked(y_true, y_pred, sample_weight))

    def tuned(self) -> SegmentationLoss:
        return self.loss.tuned()

    def get_config(self) -> dict[str, Any]:
        return {
            "loss": serialize_keras_object(self.loss),
            "weight": self.weight,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AtResolution:
        return cls(**{**config, "loss": deserialize_keras_object(config["loss"])})


class DeepSupervision:
    """One loss on every output of a model, at the resolution that the output has.

    Use it to train a U-Net whose decoder predicts at several depths. The masks are given at full
    resolution, once for each output, as Keras wants it; no copies are made of them:

    ```python
    supervision = kerasloss.DeepSupervision(kerasloss.Dice())
    model.compile(optimizer="adam", loss=supervision.for_outputs(model))
    model.fit(x, [y] * 3)  # three outputs
    ```

    A weight per image is given once; weights per pixel like the masks, `sample_weight=[w] * 3`.
    `History` holds the share of every output in the loss under its name, such as `half_loss`.

    Formula:

    ```python
    loss = sum over outputs of weight * loss(targets picked at the output's resolution, output)
    ```

    where the largest outputs have level 0, the next smaller ones level 1, and by default the weight
    is `1 / 2 ** level`, divided by the sum over the outputs.

    Edge cases: outputs of the same size have the same weight. If the model does not fix its sizes,
    the outputs are taken to be in order, the largest first.

    Args:
        loss: a loss of this package; each output gets a copy. With a `Compound` each output has
            weights, memory and terms of its own, named after it (`half_dice`); pass
            `kerasloss.DynamicWeighting()` to `fit` as always.
        weights: one number >= 0 an output, not all 0, in the order of the outputs, or a dict by
            the names of the outputs; taken as they are.

    Example:

    >>> inputs = keras.Input((16, 16, 1))
    >>> half = keras.layers.Conv2D(1, 3, strides=2, padding="same", name="half")(inputs)
    >>> full = keras.layers.Conv2DTranspose(1, 2, strides=2, name="full")(half)
    >>> model = keras.Model(inputs, [full, half])
    >>> supervision = kerasloss.DeepSupervision(kerasloss.Dice(from_logits=True))
    >>> [round(loss.weight, 4) for loss in supervision.for_outputs(model)]
    [0.6667, 0.3333]

    Reference:
        Lee, Xie, Gallagher, Zhang, Tu (2015), Deeply-supervised nets, AISTATS; the weights are
        those of Isensee et al. (2021), nnU-Net, Nature Methods 18.
    """

    def __init__(
        self,
        loss: SegmentationLoss,
        weights: Sequence[float] | Mapping[str, float] | None = None,
    ) -> None:
        _check_loss("DeepSupervision", loss)
        if isinstance(weights, (str, bytes)):
            raise _check.error("DeepSupervision", "`weights` to be numbers", repr(weights))
        if weights is not None:
            given = weights.values() if isinstance(weights, Mapping) else weights
            for weight in given:
                _check.number("DeepSupervision", "weights", weight, minimum=0.0)
            if not any(weight > 0 for weight in given):
                raise _check.error("DeepSupervision", "a weight above 0", repr(weights))
        self.loss = loss
        self.weights = weights

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        raise _check.error(
            "DeepSupervision",
            "to know the outputs of the model",
            "a call as the loss of one",
            "Use compile(loss=supervision.for_outputs(model)).",
        )

    def for_outputs(self, model: keras.Model | int) -> Any:
        """Returns the loss of every output, in the structure that `model.compile` wants.

        Args:
            model: the model, or the number of its outputs for one that does not know them before
                it is called (a subclass of `keras.Model`).

        Raises:
            ValueError: if the model does not know its outputs, or the weights do not fit them.
        """
        if isinstance(model, int) and not isinstance(model, bool):
            structure: Any = [None] * model
            names = [f"output_{index}" for index in range(model)]
            sizes: list[float | None] = [None] * model
        elif getattr(model, "outputs", None):
            # A `keras.Sequential` has `outputs`, one of them, and none of the rest.
            structure = getattr(model, "output", model.outputs[0])
            names = _names(structure, getattr(model, "output_names", [model.layers[-1].name]))
            sizes = [_size(tensor) for tensor in model.outputs]
        else:
            raise _check.error(
                "DeepSupervision.for_outputs",
                "a model that knows its outputs",
                repr(model),
                "Pass the number of outputs, the largest one first.",
            )
        losses = [
            AtResolution(self._copy(name), weight=weight, name=name)
            for name, weight in zip(names, self._weights(names, sizes), strict=True)
        ]
        return losses if isinstance(model, int) else keras.tree.pack_sequence_as(structure, losses)

    def _copy(self, output: str) -> SegmentationLoss:
        if isinstance(self.loss, Compound):
            return self.loss.copy(prefix=f"{output.replace('/', '_')}_")
        copy: SegmentationLoss = copy_part(self.loss)
        return copy

    def _weights(self, names: list[str], sizes: list[float | None]) -> list[float]:
        """The weight of every output, in their order."""
        if self.weights is None:
            known = [size for size in sizes if size is not None]
            levels = list(range(len(sizes)))
            if len(known) == len(sizes):
                distinct = sorted(set(known), reverse=True)
                levels = [distinct.index(size) for size in known]
            shares = [0.5**level for level in levels]
            return [share / sum(shares) for share in shares]
        if isinstance(self.weights, Mapping):
            fits = set(self.weights) == set(names)
        else:
            fits = len(self.weights) == len(names)
        if not fits:
            raise _check.error(
                "DeepSupervision", f"`weights` for the outputs {names}", repr(self.weights)
            )
        if isinstance(self.weights, Mapping):
            return [float(self.weights[name]) for name in names]
        return [float(weight) for weight in self.weights]


def _check_loss(owner: str, loss: Any) -> None:
    if not isinstance(loss, SegmentationLoss):
        raise _check.error(owner, "an instance of a kerasloss loss", repr(loss))
    if isinstance(loss, AtResolution):
        raise _check.error(owner, "a loss for one resolution", f"an {type(loss).__name__}")


def _names(structure: Any, layers: list[str]) -> list[str]:
    """The names under which Keras logs the outputs: keys of a dict, else names of layers."""
    paths = [path for path, _ in keras.tree.flatten_with_path(structure)]
    return [
        path[-1] if path and isinstance(path[-1], str) else name
        for path, name in zip(paths, layers, strict=True)
    ]


def _size(output: Any) -> float | None:
    """Number of pixels of an output, or None if it is not fixed."""
    space = tuple(output.shape)[1:-1]
    return None if None in space else math.prod(space)


def _picked(
    y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Targets and pixel weights at the resolution of the prediction; other ranks as they are."""
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    space = ops.shape(y_pred)[1:-1]
    ranks = (len(space) + 1, len(space) + 2)
    if len(y_true.shape) in ranks:
        y_true = nearest(y_true, space)
    if sample_weight is not None:
        sample_weight = ops.convert_to_tensor(sample_weight)
        if len(sample_weight.shape) in ranks:
            sample_weight = nearest(sample_weight, space)
    return y_true, y_pred, sample_weight
