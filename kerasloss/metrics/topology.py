"""Topology metrics: whether thin structures hang together, however wide they are."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.metrics._empty import Empty, settle
from kerasloss.metrics.base import SegmentationMetric, image_scores
from kerasloss.metrics.masks import Average, Masks
from kerasloss.ops.pixels import Tensor, divide
from kerasloss.ops.skeleton import soft_skeleton

__all__ = ["CLDiceScore", "cl_dice_score"]


def _cl_dice(batch: Masks, iterations: int) -> Tensor:
    truth, predicted = (ops.cast(mask, "float32") for mask in batch.without_ignored().one_by_one())
    axes = tuple(range(1, len(batch.space) + 1))
    lines = soft_skeleton(ops.concatenate([truth, predicted], axis=0), iterations)
    count = ops.shape(truth)[0]
    true_line, predicted_line = lines[:count], lines[count:]
    true_length, predicted_length = (
        ops.sum(line, axis=axes) for line in (true_line, predicted_line)
    )
    precision = divide(ops.sum(predicted_line * truth, axis=axes), predicted_length)
    sensitivity = divide(ops.sum(true_line * predicted, axis=axes), true_length)
    score = divide(2.0 * precision * sensitivity, precision + sensitivity)
    defined = ops.logical_and(true_length > 0, predicted_length > 0)
    perfect = ops.all(truth == predicted, axis=axes)
    score = settle(score, defined, perfect, best=1.0, worst=0.0)
    return ops.reshape(score, (-1, batch.truth.shape[-1]))


def cl_dice_score(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    iterations: int = 10,
    average: Average = None,
    include_background: bool = False,
    threshold: float = 0.5,
    empty: Empty = "score",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.metrics.CLDiceScore`: one value an image and class.

    Shape `(batch, classes)`, NaN for a class that does not count; `(batch,)` if averaged.
    """
    _check.integer("cl_dice_score", "iterations", iterations, minimum=0)
    return image_scores(
        "cl_dice_score",
        lambda batch: _cl_dice(batch, iterations),
        y_true,
        y_pred,
        sample_weight,
        average=average,
        include_background=include_background,
        threshold=threshold,
        empty=empty,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )


@register_keras_serializable("kerasloss")
class CLDiceScore(SegmentationMetric):
    """Centre-line Dice (clDice): how much of each centre line the other mask covers.

    Use it for vessels, cracks and roads, where a gap matters more than a width.

    Formula, with the skeleton `S(.)` of `kerasloss.ops.soft_skeleton`:

    ```python
    precision   = |S(P) and T| / |S(P)|
    sensitivity = |S(T) and P| / |S(T)|
    score       = 2 precision sensitivity / (precision + sensitivity)
    ```

    Edge cases: a class in neither target nor prediction scores 1, in one of them 0. If no object
    of a mask is thin enough to leave a centre line, only a prediction without a wrong pixel
    scores 1.

    Args:
        iterations: half the width in pixels of the widest object that is still a line; what is
            wider leaves no centre line.
        average: as in `DiceScore`.
        include_background: as in `DiceScore`.
        threshold: as in `DiceScore`.
        empty: as in `DiceScore`.
        from_logits: as in `DiceScore`.
        ignore_class: as in `DiceScore`.
        name: as in `kerasloss.metrics.SegmentationMetric`.
        dtype: as in `kerasloss.metrics.SegmentationMetric`.

    Example:

    >>> y_true = np.array([[[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]])
    >>> y_pred = np.array([[[0, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]])[..., None]
    >>> round(float(kerasloss.metrics.CLDiceScore()(y_true, y_pred)), 4)
    0.8571

    Reference:
        Shit, Paetzold, et al. (2021), clDice, a novel topology-preserving loss function for
        tubular structure segmentation, CVPR. https://arxiv.org/abs/2003.07311
    """

    function = staticmethod(cl_dice_score)

    def __init__(
        self,
        *,
        iterations: int = 10,
        average: Average = "macro",
        include_background: bool = False,
        threshold: float = 0.5,
        empty: Empty = "score",
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check.integer("CLDiceScore", "iterations", iterations, minimum=0)
        super().__init__(
            iterations=iterations,
            average=average,
            include_background=include_background,
            threshold=threshold,
            empty=empty,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )
