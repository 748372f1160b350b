"""References of the losses that look at distances."""

import numpy as np
from scipy import ndimage

from oracle.core import class_factors, focal_pixels, pixel_mean, read


def distance_weights(image, kind):
    """`D` of the distance-map loss, from the target alone."""
    weights = np.zeros(image.w.shape)
    for c in image.classes:
        mask = (image.y[..., c] > 0.5) & (image.w > 0)
        if mask.all() or not mask.any():
            continue  # no border to be near to
        depth = ndimage.distance_transform_edt(mask)
        if kind == "object":
            if c == 0:
                continue
            objects, count = ndimage.label(mask, structure=np.ones([3] * mask.ndim))
            for k in range(1, count + 1):
                inside = objects == k
                weights[inside] += 1 - depth[inside] / depth[inside].max()
        else:
            rise = depth[mask].max() - depth[mask]
            if rise.max() > 0:
                weights[mask] += rise / rise.max()
    return weights


def distance_map(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    kind="object",
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        entropy = focal_pixels(image, class_factors(image, class_weight), gamma=0)
        values.append(pixel_mean(image, (1 + distance_weights(image, kind)) * entropy))
    return np.array(values)


def edge_distance(mask, spacing, without=None):
    """Distance to the nearest pixel of the other side; `without` boundary the image's diagonal."""
    steps = np.ones(mask.ndim) * (1 if spacing is None else spacing)
    if mask.all() or not mask.any():
        diagonal = np.sqrt(((np.array(mask.shape) * steps) ** 2).sum())
        return np.full(mask.shape, diagonal if without is None else without)
    inside = ndimage.distance_transform_edt(mask, sampling=steps)
    outside = ndimage.distance_transform_edt(~mask, sampling=steps)
    return np.where(mask, inside, outside)


def counted_mask(image, values, c):
    """Where a class has more than half, among the pixels that count.

    The background of one sigmoid channel is what its foreground leaves, ignored pixels included.
    """
    if image.one_channel:
        foreground = (values[..., 1] > 0.5) & (image.w > 0)
        return foreground if c == 1 else ~foreground
    return (values[..., c] > 0.5) & (image.w > 0)


def mean_of_classes(image, class_weight, class_loss):
    """One sigmoid channel is its foreground alone, unless weights are given for both classes."""
    if class_weight is None:
        class_weight = [0, 1] if image.one_channel else [1] * len(image.classes)
    total = sum(w * class_loss(c) for c, w in enumerate(class_weight) if w)
    return total / sum(class_weight)


def boundary(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    normalize=True,
    spacing=None,
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    def class_loss(c):
        mask = counted_mask(image, image.y, c)
        phi = edge_distance(mask, spacing)
        phi = np.where(mask, np.min(1 if spacing is None else spacing) - phi, phi)
        if normalize and np.abs(phi).max() > 0:
            phi = phi / np.abs(phi).max()
        # Kervadec's phi * p, less the same of a perfect prediction.
        return pixel_mean(image, phi * image.p[..., c]) - pixel_mean(image, phi * mask)

    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        values.append(mean_of_classes(image, class_weight, class_loss))
    return np.array(values)


def hausdorff(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    alpha=2.0,
    one_sided=False,
    log=False,
    normalize=True,
    spacing=None,
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    def class_loss(c):
        far = edge_distance(counted_mask(image, image.y, c), spacing) ** alpha
        if not one_sided:
            found = counted_mask(image, image.p, c)
            far = far + edge_distance(found, spacing, without=0) ** alpha
        cost = pixel_mean(image, far * (image.p[..., c] - image.y[..., c]) ** 2)
        if normalize:
            total = pixel_mean(image, far)
            return cost / total if total > 0 else 0.0
        return cost

    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        if log:
            value = mean_of_classes(image, class_weight, lambda c: np.log1p(class_loss(c)))
        else:
            value = mean_of_classes(image, class_weight, class_loss)
        values.append(value)
    return np.array(values)
