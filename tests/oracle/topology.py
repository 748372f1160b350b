"""References of the losses on topology."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from oracle.core import read
from oracle.region import dice


def soft_skeleton(image, iterations=10):
    """Of one image of any rank; what lies beyond its border is neither thinned nor grown from."""
    cross = ndimage.generate_binary_structure(image.ndim, 1)
    cube = np.ones([3] * image.ndim, bool)

    def erode(x):
        return ndimage.minimum_filter(x, footprint=cross, mode="constant", cval=np.inf)

    def left_by_opening(x):
        opened = ndimage.maximum_filter(erode(x), footprint=cube, mode="constant", cval=-np.inf)
        return np.maximum(x - opened, 0)

    skeleton = left_by_opening(image)
    for _ in range(iterations):
        image = erode(image)
        delta = left_by_opening(image)
        skeleton = skeleton + np.maximum(delta - skeleton * delta, 0)
    return skeleton


def _centre_line_error(images, c, smooth, iterations):
    """1 - harmonic mean of topology precision and topology sensitivity of class `c`."""
    on_p = length_p = on_y = length_y = 0.0
    for image in images:
        counted = image.w > 0
        y, p = image.y[..., c] * counted, image.p[..., c] * counted
        line_p, line_y = soft_skeleton(p, iterations), soft_skeleton(y, iterations)
        w = image.times * image.w
        on_p, length_p = on_p + (w * line_p * y).sum(), length_p + (w * line_p).sum()
        on_y, length_y = on_y + (w * line_y * p).sum(), length_y + (w * line_y).sum()
    # Nothing found, or nothing to find (0/0), leaves nothing wrong.
    precision = (on_p + smooth) / (length_p + smooth) if length_p + smooth > 0 else 1.0
    sensitivity = (on_y + smooth) / (length_y + smooth) if length_y + smooth > 0 else 1.0
    total = precision + sensitivity
    return 1 - 2 * precision * sensitivity / total if total > 0 else 1.0


def cl_dice(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    alpha=0.5,
    iterations=10,
    smooth=1.0,
    pool="image",
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    images = read(y_true, y_pred, sample_weight, from_logits, ignore_class)
    asked = class_weight
    if asked is None:
        asked = [0, 1] if images[0].one_channel else [1] * len(images[0].classes)
    groups = [images] * len(images)
    if pool == "image":
        groups = [[replace(image, times=1.0)] for image in images]  # alone, it is there once
    lines = []
    for group in groups:
        errors = [
            w * _centre_line_error(group, c, smooth, iterations) for c, w in enumerate(asked) if w
        ]
        lines.append(sum(errors) / sum(asked))
    overlap = dice(
        y_true, y_pred, sample_weight, smooth=smooth, pool=pool, from_logits=from_logits,
        class_weight=class_weight, ignore_class=ignore_class,
    )  # fmt: skip
    return (1 - alpha) * overlap + alpha * np.array(lines)
