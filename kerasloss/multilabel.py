"""Classes that overlap: one sigmoid problem a channel."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import (
    deserialize_keras_object,
    register_keras_serializable,
    serialize_keras_object,
)

from kerasloss import _check
from kerasloss.compound import Compound
from kerasloss.losses.base import SegmentationLoss
from kerasloss.ops.pixels import Tensor, divide


@register_keras_serializable("kerasloss")
class Multilabel(SegmentationLoss):
    """Applies a loss to every channel by itself, for classes that may overlap.

    Use it for a model with several sigmoid channels, such as organ and tumour inside of it, or
    cell and nucleus. Each channel is to the loss what a single sigmoid channel is, with `pool`,
    `class_weight` (background, foreground), `ignore_class` and `sample_weight` as always.

    Formula, with `class_weight` w_c:

    ```python
    loss = sum of w_c * loss(y_true[..., c], y_pred[..., c]) / sum of w_c
    ```

    Edge cases: what is ignored is ignored in its channel alone. A channel without any counted pixel
    in an image leaves the mean of that image, so images may be labelled for some classes only: fill
    the other channels with the loss's `ignore_class`.

    Args:
        loss: a loss of this package, with `from_logits` and the other options of its own; not a
            `Compound`: make each of its terms multi-label instead. Its `reduction` and `dtype` are
            not used.
        class_weight: one number >= 0 a channel; the weighted mean over the channels is divided by
            their sum, and 0 leaves a channel out.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: name of the instance; by default `multilabel_` and that of the loss.
        dtype: as in `keras.losses.Loss`.

    Call it with `y_true` of the shape of `y_pred`, `(batch, *space, channels)`.

    Example:

    >>> y_true = np.array([[[1, 0], [1, 1]]])
    >>> y_pred = np.array([[[0.8, 0.4], [0.8, 0.6]]])
    >>> round(float(kerasloss.Multilabel(kerasloss.Dice())(y_true, y_pred)), 4)
    0.1768
    """

    independent = True

    def __init__(
        self,
        loss: SegmentationLoss,
        *,
        class_weight: Any = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if not isinstance(loss, SegmentationLoss):
            raise _check.error("Multilabel", "an instance of a kerasloss loss", repr(loss))
        if isinstance(loss, Multilabel) or isinstance(loss.tuned(), Compound):
            raise _check.error(
                "Multilabel",
                "a loss of one formula",
                f"a {type(loss).__name__}",
                "Make each term multi-label: Multilabel(Dice()) + Multilabel(Focal()).",
            )
        super().__init__(
            class_weight=class_weight,
            reduction=reduction,
            name=name or f"multilabel_{loss.name}",
            dtype=dtype,
        )
        self.loss = loss

    def tuned(self) -> SegmentationLoss:
        return self.loss.tuned()

    def values(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        weights, channels = self._channels(y_true, y_pred)
        values = ops.stack(
            [self.loss.values(true, pred, sample_weight) for true, pred in channels], axis=-1
        )
        share = ops.cast(weights, values.dtype)
        votes = self._votes(channels, sample_weight)
        if votes is not None:
            share = share * ops.cast(votes > 0, values.dtype)
        return divide(ops.sum(values * share, axis=-1), ops.sum(share, axis=-1))

    def image_weight(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor | None:
        _, channels = self._channels(y_true, y_pred)
        votes = self._votes(channels, sample_weight)
        return None if votes is None else ops.max(votes, axis=-1)

    def _votes(
        self, channels: list[tuple[Tensor, Tensor]], sample_weight: Tensor | None
    ) -> Tensor | None:
        """How often each image counts in each channel, or None for once each."""
        votes = [self.loss.image_weight(true, pred, sample_weight) for true, pred in channels]
        return None if votes[0] is None else ops.stack(votes, axis=-1)

    def _channels(
        self, y_true: Tensor, y_pred: Tensor
    ) -> tuple[list[float], list[tuple[Tensor, Tensor]]]:
        """Weight of every channel that counts, and its part of target and prediction."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        same_rank = len(y_true.shape) == len(y_pred.shape)
        if not same_rank or y_true.shape[-1] != y_pred.shape[-1] or y_pred.shape[-1] is None:
            raise _check.error(
                str(self.name),
                "`y_true` of the shape of `y_pred`, (batch, *space, channels)",
                f"y_true {tuple(y_true.shape)}, y_pred {tuple(y_pred.shape)}",
                "A pixel may be of several classes, so that integer labels cannot tell which.",
            )
        count = int(y_pred.shape[-1])
        weights = [1.0] * count
        if self.class_weight is not None:
            _check.class_weight(str(self.name), self.class_weight, count)
            weights = [float(weight) for weight in self.class_weight]
        used = [channel for channel in range(count) if weights[channel] > 0]
        return [weights[channel] for channel in used], [
            (y_true[..., channel : channel + 1], y_pred[..., channel : channel + 1])
            for channel in used
        ]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "loss": serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Multilabel:
        return cls(**{**config, "loss": deserialize_keras_object(config["loss"])})
