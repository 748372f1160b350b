"""References of the losses on overlap."""

from dataclasses import replace

import numpy as np

from oracle.core import read


def counts(images, c):
    """Soft true positives, false positives and false negatives of class `c` in these images."""
    tp = fp = fn = 0.0
    for image in images:
        y, p, w = image.y[..., c], image.p[..., c], image.times * image.w
        tp += (w * p * y).sum()
        fp += (w * p * (1 - y)).sum()
        fn += (w * (1 - p) * y).sum()
    return tp, fp, fn


def _miss(numerator, denominator):
    """1 - score; nothing to find and nothing found (0/0) is a perfect score."""
    return 1 - numerator / denominator if denominator > 0 else 0.0


def _pools(images, pool):
    """For every image the images whose pixels are counted together with its own."""
    if pool == "batch":
        return [images] * len(images)
    return [[replace(image, times=1.0)] for image in images]  # alone, it is there once


def _class_mean(images, class_weight, class_loss):
    if class_weight is None:
        class_weight = [0, 1] if images[0].one_channel else [1] * len(images[0].classes)
    total = sum(w * class_loss(*counts(images, c)) for c, w in enumerate(class_weight) if w)
    return total / sum(class_weight)


def tversky(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    alpha=0.3,
    beta=0.7,
    smooth=1.0,
    pool="image",
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    def class_loss(tp, fp, fn):
        return _miss(tp + smooth, tp + alpha * fp + beta * fn + smooth)

    images = read(y_true, y_pred, sample_weight, from_logits, ignore_class)
    return np.array([_class_mean(p, class_weight, class_loss) for p in _pools(images, pool)])


def iou(y_true, y_pred, sample_weight=None, *, smooth=1.0, **options):
    # Intersection over union: both kinds of error count in full.
    return tversky(y_true, y_pred, sample_weight, alpha=1.0, beta=1.0, smooth=smooth, **options)


def dice(y_true, y_pred, sample_weight=None, *, smooth=1.0, **options):
    # (2TP + s) / (2TP + FP + FN + s), divided by two above and below.
    return tversky(y_true, y_pred, sample_weight, alpha=0.5, beta=0.5, smooth=smooth / 2, **options)


def cb_dice(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    smooth=1e-6,
    pool="batch",
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    values = []
    images = read(y_true, y_pred, sample_weight, from_logits, ignore_class)
    for group in _pools(images, pool):
        pixels = sum(image.times * image.w.sum() for image in group)
        weights, losses = [], []
        for c in group[0].classes:
            tp, fp, fn = counts(group, c)
            present = tp + fn
            if present > 0:
                asked = 1.0 if class_weight is None else class_weight[c]
                weights.append(asked * pixels / present)
                losses.append(_miss(2 * tp + smooth, 2 * tp + fp + fn + smooth))
        total = sum(weights)
        values.append(np.dot(weights, losses) / total if total > 0 else 0.0)
    return np.array(values)
