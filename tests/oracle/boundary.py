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
