"""Boundary losses: what a pixel costs depends on how far it is from the boundary of the target."""

from __future__ import annotations

from typing import Any, Literal

from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.losses.base import class_factors, class_mean
from kerasloss.losses.distances import DistanceLoss, read
from kerasloss.ops.distance import distance_transform
from kerasloss.ops.maps import signed, split, unsigned
from kerasloss.ops.objects import object_size
from kerasloss.ops.parts import cross_entropy_cost, pixel_mean
from kerasloss.ops.pixels import Pixels, Tensor, divide, prepare

__all__ = ["Boundary", "DistanceMap", "boundary", "distance_map"]

Kind = Literal["object", "image"]


def _rim(inside: Tensor, distance: Tensor, kind: Kind) -> Tensor:
    """Closeness to the boundary of a mask, 0 to 1 inside and 0 outside; shape `(batch, *space)`."""
    if kind == "object":
        largest = object_size(inside, distance)
        return ops.where(largest > 0, 1.0 - divide(distance, largest), 0.0)
    axes = tuple(range(1, len(inside.shape)))
    depth = ops.where(inside, ops.max(distance, axis=axes, keepdims=True) - distance, 0.0)
    return divide(depth, ops.max(depth, axis=axes, keepdims=True))


def _closeness(pixels: Pixels, kind: Kind, maps: Tensor | None) -> Tensor:
    """The map D of the whole target, shape `(batch, 1, *space)`; `maps` are signed distances."""
    counted = True if pixels.weight is None else pixels.weight[..., 0] > 0
    inside = [pixels.target[..., c] > 0.5 for c in range(pixels.channels)]
    known = None if maps is None else ops.unstack(unsigned(maps, pixels.target > 0.5), axis=-1)
    if pixels.channels == 1:
        inside = [ops.logical_not(inside[0]), *inside]
        # Both classes have the same boundary.
        known = known and [*known, *known]
    total = 0.0
    # The background is no object; seen over the image it has a rim like any other class.
    for c in range(1 if kind == "object" else 0, len(inside)):
        mask = ops.logical_and(inside[c], counted)
        distance = distance_transform(mask) if known is None else ops.where(mask, known[c], 0.0)
        total = total + _rim(mask, distance, kind)
    return ops.cast(ops.expand_dims(ops.stop_gradient(total), 1), pixels.dtype)


def distance_map(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    kind: Kind = "object",
    precomputed: bool = False,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.DistanceMap`: one value an image, shape `(batch,)`."""
    _check.choice("distance_map", "kind", kind, ("object", "image"))
    maps = None
    if precomputed:
        y_true, maps = split("distance_map", y_true, y_pred)
    pixels = prepare(
        "distance_map",
        y_true,
        y_pred,
        sample_weight,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    factors = class_factors(pixels, class_weight, "distance_map")
    cost = cross_entropy_cost(pixels, factors)
    return pixel_mean(pixels, (1.0 + _closeness(pixels, kind, maps)) * cost)


@register_keras_serializable("kerasloss")
class DistanceMap(DistanceLoss):
    """Cross-entropy in which pixels near the boundary of the target weigh up to twice as much.

    Use it when outlines matter more than the inside of objects. The distances are computed from
    `y_true` inside the training step, exactly, on every backend.

    Formula, with the Euclidean distance `t` of a pixel to the nearest one of another class:

    ```python
    loss = mean over pixels of (1 + D) * cross_entropy
    D    = 1 - t / (largest t in the pixel's object)       kind="object", 0 on the background
    D    = (max t - t) / max(max t - t) in the class       kind="image", background included
    ```

    Objects are connected over edges and corners.

    Edge cases: an object at most two pixels wide has D = 0, as has an image of one class only.

    Args:
        kind: `"object"` normalises inside each object and leaves the background at weight 1 (the
            bubble study); `"image"` emphasises both sides of the boundary, normalised over the
            image (Caliva et al.).
        precomputed: `y_true` comes from `kerasloss.with_distance_maps`: no distance is computed in
            training. Then a pixel of weight 0 still shapes the distances, and the background of a
            sigmoid channel is not bounded by ignored pixels.
        from_logits: whether `y_pred` holds logits; otherwise probabilities.
        class_weight: as in `CrossEntropy`.
        ignore_class: label whose pixels count nowhere; they bound an object like another class.
        reduction: as in `kerasloss.losses.SegmentationLoss`.
        name: as in `keras.losses.Loss`.
        dtype: as in `keras.losses.Loss`.

    Example:

    >>> y_true = np.array([[[0, 1, 1, 1, 0]]])
    >>> y_pred = np.full((1, 1, 5, 1), 0.5)
    >>> round(float(kerasloss.DistanceMap(kind="object")(y_true, y_pred)), 4)
    0.8318

    Reference:
        Agarwal, Sawant, et al. (2023), Engineering Applications of Artificial Intelligence 126,
        106747; Caliva et al. (2019), Distance map loss penalty term for semantic segmentation,
        MIDL. https://arxiv.org/abs/1908.03679
    """

    function = staticmethod(distance_map)

    def __init__(
        self,
        *,
        kind: Kind = "object",
        precomputed: bool = False,
        from_logits: bool = False,
        class_weight: Any = None,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        _check.choice("DistanceMap", "kind", kind, ("object", "image"))
        super().__init__(
            kind=kind,
            precomputed=precomputed,
            from_logits=from_logits,
            class_weight=class_weight,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


def boundary(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    sample_weight: Tensor | None = None,
    normalize: bool = True,
    spacing: Any = None,
    precomputed: bool = False,
    from_logits: bool = False,
    class_weight: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Functional twin of `kerasloss.Boundary`: one value an image, shape `(batch,)`."""
    _check.options("boundary", {"normalize": normalize, "spacing": spacing})
    classes = read(
        "boundary",
        y_true,
        y_pred,
        sample_weight,
        spacing=spacing,
        precomputed=precomputed,
        every_class=class_weight is not None,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    phi = signed(classes.distance, classes.inside, spacing)
    if normalize:
        phi = divide(phi, ops.max(ops.abs(phi), axis=classes.pixels.axes, keepdims=True))
    right = ops.cast(classes.inside, classes.pixels.dtype)
    return class_mean(classes.mean(phi * (classes.probability - right)), class_weight, "boundary")


@register_keras_serializable("kerasloss")
class Boundary(DistanceLoss):
    """Probability on the wrong side of the boundary, times the distance to it.

    Use it together with a region loss (`Compound`) on small or rare objects, best with a weight
    that grows while the model trains (see the guide on annealing): alone it hardly moves the
    outline, since an error beside the boundary costs little. The distances are computed inside the
    training step, exactly, on every backend.

    Formula, with the signed distance `phi` of a pixel to the boundary of the target (positive
    outside; 0 on the outermost pixels inside, negative deeper), the mean over pixels for each
    class, then the mean over classes:

    ```python
    phi  = distance outside, 1 - distance inside
    loss = mean(phi * (p - [y > 1/2]))              normalize=False, in pixels
    loss = mean(phi / max|phi| * (p - [y > 1/2]))   normalize=True, between 0 and 1
    ```

    The published loss is `mean(phi * p)`. It differs by a constant of the target, so the gradient
    is the same; less this constant no value is negative and a perfect prediction costs 0.

    Edge cases: in an image without the class, `phi` is the diagonal of the image everywhere (1 if
    normalised), and almost minus this in an image full of it: false positives and misses keep a
    gradient there, where the published code has none. Missing an object one or two pixels wide
    costs nothing, as published: leave that to the region loss.

    Args:
        normalize: divides `phi` by its largest size in the image, for each class, so that the loss
            mixes with Dice.
        spacing: distance between neighbouring pixels, one number > 0 a space axis or one for all;
            None for pixels. The outermost pixels inside are at 0 along the finest axis.
        precomputed: `y_true` comes from `kerasloss.with_distance_maps`: no distance is computed in
            training. Then a pixel of weight 0 still shapes the distances; `ignore_class` has no
            such limit.
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
    >>> round(float(kerasloss.Boundary(normalize=False)(y_true, y_pred)), 4)
    0.34
    >>> round(float(kerasloss.Boundary()(y_true, y_pred)), 4)
    0.17

    Reference:
        Kervadec et al. (2019), Boundary loss for highly unbalanced segmentation, MIDL.
        https://arxiv.org/abs/1812.07032
    """

    function = staticmethod(boundary)

    def __init__(
        self,
        *,
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
        super().__init__(
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
