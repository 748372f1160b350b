"""Hausdorff losses: an error costs more the farther it is from the boundaries."""

from __future__ import annotations

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import class_mean
from kerasloss.losses.distances import DistanceLoss, mask, read
from kerasloss.ops.maps import boundary_distance, diagonal
from kerasloss.ops.pixels import Tensor

__all__ = ["Hausdorff", "hausdorff"]


def hausdorff(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    alpha: Any = 2.0,
    one_sided: bool = False,
    log: bool = False,
    normalize: bool = True,
    spacing: Any = None,
    precomputed: bool = False,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.Hausdorff`: one value an image, shape `(batch,)`."""
    _check.number("hausdorff", "alpha", alpha, above=0.0)
    _check.options(
        "hausdorff",
        {"one_sided": one_sided, "log": log, "normalize": normalize, "spacing": spacing},
    )
    classes = read(
        "hausdorff",
        y_true,
        y_pred,
        sample_weight,
        spacing=spacing,
        precomputed=precomputed,
        every_class=class_weight is not None,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    pixels = classes.pixels
    # As shares of the diagonal no power overflows, and a weighted mean has no scale.
    unit = diagonal(tuple(pixels.pred.shape[1:-1]), spacing) if normalize else 1.0
    alpha = ops.cast(alpha, pixels.dtype)
    weight = ops.power(classes.distance / unit, alpha)
    if not one_sided:
        found = mask(ops.stop_gradient(pixels.probability()), pixels)
        # Where nothing is found yet, the target alone decides.
        distance = ops.cast(boundary_distance(found, spacing, without=0.0), pixels.dtype)
        weight = weight + ops.power(distance / unit, alpha)
    weight = ops.stop_gradient(weight)
    error = ops.square(classes.probability - classes.target)
    values = classes.mean(error, weight) if normalize else classes.mean(error * weight)
    if log:
        values = ops.log1p(values)
    return class_mean(values, class_weight, "hausdorff")


@register_keras_serializable("kerasloss")
class Hausdorff(DistanceLoss):
    """Squared error, weighted by the distance to the boundaries of target and prediction.

    Use it together with a region loss (`Compound`) where outliers matter: a false object far away
    costs much more than a ragged outline. The distances are computed inside the training step,
    exactly, on every backend; no gradient flows through them.

    Formula, with the distances `d_y` and `d_p` of a pixel to the boundaries of `y > 1/2` and of
    `p > 1/2`, the mean over pixels for each class, then the mean over classes:

    ```python
    W    = d_y**alpha + d_p**alpha        one_sided=True: d_y**alpha
    loss = mean(W * (p - y)**2)           normalize=False, in pixels**alpha (Karimi et al.)
    loss = sum(W * (p - y)**2) / sum(W)   normalize=True, between 0 and 1
    loss = log(1 + loss)                  log=True
    ```

    In pixels the values reach thousands and drown every other loss; divided by the diagonal of the
    image they vanish beside it. As a weighted mean they start near a quarter, whatever the size.

    Edge cases: in an image without the class, or full of it, `d_y` is the diagonal of the image, so
    that false positives have a gradient there. Where nothing or everything is predicted, `d_p` is 0
    and the target alone decides.

    Args:
        alpha: exponent of the distance, > 0: the larger, the more the farthest errors rule; a
            number or a scalar `keras.Variable`.
        one_sided: leaves out `d_p`. With `precomputed` no distance is left to compute in training.
        log: returns log(1 + loss), which tames the unnormalised values.
        normalize: divides by the sum of the weights instead of the number of pixels.
        spacing: distance between neighbouring pixels, one number > 0 a space axis or one for all;
            None for pixels.
        precomputed: `y_true` comes from `kerasloss.with_distance_maps`. Then a pixel of weight 0
            still shapes the distances; `ignore_class` has no such limit.
        from_logits: whether `y_pred` holds logits; otherwise probabilities.
        class_weight: one number >= 0 a class in the mean over classes. By default one sigmoid
            channel is the foreground alone, softmax classes count alike; 0 leaves the background
            out.
        ignore_class: label whose pixels count nowhere; they bound an object like another class.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[0, 1, 1, 0, 0]])
    >>> y_pred = np.array([[[0.1], [0.9], [0.8], [0.2], [0.7]]])
    >>> round(float(kerasloss.Hausdorff(normalize=False)(y_true, y_pred)), 4)
    0.53
    >>> round(float(kerasloss.Hausdorff()(y_true, y_pred)), 4)
    0.2038

    Reference:
        Karimi, Salcudean (2019), Reducing the Hausdorff distance in medical image segmentation with
        convolutional neural networks. https://arxiv.org/abs/1904.10030
    """

    function = staticmethod(hausdorff)
    tunable = ("alpha",)

    def __init__(
        self,
        *,
        alpha: Any = 2.0,
        one_sided: bool = False,
        log: bool = False,
        normalize: bool = True,
        spacing: Any = None,
        precomputed: bool = False,
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check.number("Hausdorff", "alpha", alpha, above=0.0)
        super().__init__(
            alpha=alpha,
            one_sided=one_sided,
            log=log,
            normalize=normalize,
            spacing=spacing,
            precomputed=precomputed,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
