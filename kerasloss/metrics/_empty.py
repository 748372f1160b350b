"""What a metric says about a class that the target, the prediction or both do not have.

The one place where this is decided; `docs/empty_masks.md` is its long form.
"""

from __future__ import annotations

from typing import Literal

from keras import ops

from kerasloss.ops.pixels import Tensor

Empty = Literal["score", "skip"]


def settle(
    values: Tensor, defined: Tensor, perfect: Tensor, *, best: float, worst: float
) -> Tensor:
    """Puts a value where a formula has none: the best one if nothing is wrong, else the worst.

    Args:
        values: what the formula gives; anything where it is not defined.
        defined: boolean, where the formula stands.
        perfect: boolean, where not a single pixel is wrong.
        best: value of a perfect prediction.
        worst: value of a prediction that missed or invented everything.
    """
    return ops.where(defined, values, ops.where(perfect, float(best), float(worst)))


def counted(truth_has_class: Tensor, image_counts: Tensor, empty: Empty) -> Tensor:
    """Which images and classes count in a mean.

    Args:
        truth_has_class: boolean, shape `(batch, classes)`.
        image_counts: boolean, shape `(batch, 1)`: whether the image has a counted pixel at all.
        empty: `"score"` or `"skip"`.

    Returns:
        Boolean tensor of shape `(batch, classes)`.
    """
    everything = ops.ones_like(truth_has_class) if empty == "score" else truth_has_class
    return ops.logical_and(everything, image_counts)
