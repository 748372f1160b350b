"""References of the losses on overlap."""

from dataclasses import replace

import numpy as np

from oracle.core import read


def counts(images, c, soft_labels=False):
    """Soft true positives, false positives and false negatives of class `c` in these images."""
    tp = fp = fn = 0.0
    for image in images:
        y, p, w = image.y[..., c], image.p[..., c], image.times * image.w
        both = np.minimum(p, y) if soft_labels else p * y
        tp += (w * both).sum()
        fp += (w * (p - both)).sum()
        fn += (w * (y - both)).sum()
    return tp, fp, fn


def squared_sums(images, c):
    """sum(p y), sum(p^2) and sum(y^2) of class `c` in these images."""
    both = predicted = positive = 0.0
    for image in images:
        y, p, w = image.y[..., c], image.p[..., c], image.times * image.w
        both += (w * p * y).sum()
        predicted += (w * p**2).sum()
        positive += (w * y**2).sum()
    return both, predicted, positive


def miss_of(numerator, denominator):
    """1 - score; nothing to find and nothing found (0/0) is a perfect score."""
    return 1 - numerator / denominator if denominator > 0 else 0.0


def pools(images, pool):
    """For every image the images whose pixels are counted together with its own."""
    if pool == "batch":
        return [images] * len(images)
    return [[replace(image, times=1.0)] for image in images]  # alone, it is there once


def class_mean(images, class_weight, class_loss):
    """Mean of `class_loss(c)`: of the foreground alone for one channel, if no weights are given."""
    if class_weight is None:
        class_weight = [0, 1] if images[0].one_channel else [1] * len(images[0].classes)
    total = sum(w * class_loss(c) for c, w in enumerate(class_weight) if w)
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
    soft_labels=False,
    from_logits=False,
    class_weight=None,
    ignore_class=None,
    curve=lambda loss: loss,
):
    def value(group):
        def class_loss(c):
            tp, fp, fn = counts(group, c, soft_labels)
            return curve(miss_of(tp + smooth, tp + alpha * fp + beta * fn + smooth))

        return class_mean(group, class_weight, class_loss)

    images = read(y_true, y_pred, sample_weight, from_logits, ignore_class)
    return np.array([value(group) for group in pools(images, pool)])


def _with_squares(index):
    """The loss `1 - index(sum(p y), sum(p^2), sum(y^2), smooth)`."""

    def loss(
        y_true,
        y_pred,
        sample_weight=None,
        *,
        smooth=1.0,
        pool="image",
        from_logits=False,
        class_weight=None,
        ignore_class=None,
    ):
        def value(group):
            def class_loss(c):
                return miss_of(*index(*squared_sums(group, c), smooth))

            return class_mean(group, class_weight, class_loss)

        images = read(y_true, y_pred, sample_weight, from_logits, ignore_class)
        return np.array([value(group) for group in pools(images, pool)])

    return loss


jaccard_distance = _with_squares(lambda both, p2, y2, s: (both + s, p2 + y2 - both + s))
_squared_dice = _with_squares(lambda both, p2, y2, s: (2 * both + s, p2 + y2 + s))


def iou(y_true, y_pred, sample_weight=None, *, smooth=1.0, squared=False, **options):
    if squared:
        return jaccard_distance(y_true, y_pred, sample_weight, smooth=smooth, **options)
    # Intersection over union: both kinds of error count in full.
    return tversky(y_true, y_pred, sample_weight, alpha=1.0, beta=1.0, smooth=smooth, **options)


def dice(y_true, y_pred, sample_weight=None, *, smooth=1.0, squared=False, **options):
    if squared:
        return _squared_dice(y_true, y_pred, sample_weight, smooth=smooth, **options)
    # (2TP + s) / (2TP + FP + FN + s), divided by two above and below.
    return tversky(y_true, y_pred, sample_weight, alpha=0.5, beta=0.5, smooth=smooth / 2, **options)


def focal_tversky(y_true, y_pred, sample_weight=None, *, gamma=0.75, **options):
    def curve(loss):
        # "Below 1e-7 the power is replaced by the straight line to 0"; 1 - 1 is exact to 1e-15.
        return loss**gamma if loss >= 1e-7 else loss * 1e-7 ** (gamma - 1)

    return tversky(y_true, y_pred, sample_weight, curve=curve, **options)


def log_cosh_dice(y_true, y_pred, sample_weight=None, **options):
    return dice(y_true, y_pred, sample_weight, curve=lambda x: np.log(np.cosh(x)), **options)


def mcc(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    smooth=1.0,
    pool="image",
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    def value(group):
        def class_loss(c):
            tp, fp, fn = counts(group, c)
            tn = sum((i.times * i.w * (1 - i.p[..., c]) * (1 - i.y[..., c])).sum() for i in group)
            tp, tn = tp + smooth, tn + smooth
            product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
            if product <= 1e-12:
                return float(fp + fn > 0)
            return 1 - (tp * tn - fp * fn) / np.sqrt(product)

        return class_mean(group, class_weight, class_loss)

    images = read(y_true, y_pred, sample_weight, from_logits, ignore_class)
    return np.array([value(group) for group in pools(images, pool)])


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
    for group in pools(images, pool):
        pixels = sum(image.times * image.w.sum() for image in group)
        weights, losses = [], []
        for c in group[0].classes:
            tp, fp, fn = counts(group, c)
            present = tp + fn
            if present > 0:
                asked = 1.0 if class_weight is None else class_weight[c]
                weights.append(asked * pixels / present)
                losses.append(miss_of(2 * tp + smooth, 2 * tp + fp + fn + smooth))
        total = sum(weights)
        values.append(np.dot(weights, losses) / total if total > 0 else 0.0)
    return np.array(values)


def generalized_dice(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    smooth=1e-6,
    pool="image",
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    values = []
    images = read(y_true, y_pred, sample_weight, from_logits, ignore_class)
    for group in pools(images, pool):
        asked = np.ones(len(group[0].classes)) if class_weight is None else np.array(class_weight)
        asked = asked * len(asked) / asked.sum()
        of_class = {c: counts(group, c) for c in group[0].classes if asked[c] > 0}
        present = [tp + fn for tp, fp, fn in of_class.values() if tp + fn > 0]
        smallest = min(present, default=1.0)
        above = below = smooth
        for c, (tp, fp, fn) in of_class.items():
            weight = asked[c] * (smallest / (tp + fn)) ** 2 if tp + fn > 0 else asked[c]
            above += weight * 2 * tp
            below += weight * (2 * tp + fp + fn)
        values.append(miss_of(above, below))
    return np.array(values)
