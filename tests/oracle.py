"""Float64 NumPy reference of every loss, written from the published formulas and the loss contract.

It shares nothing with the package: plain loops over images and classes, no masks passed around, no
clever sums. One function a loss, under the name of the loss's function twin:

    dice(y_true, y_pred, sample_weight=None, **options) -> (batch,)

and `reduce`, which turns these values into what the loss object returns. A new loss needs a
function here; the contract test says so when it is missing.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

TINY = 1e-7  # the contract: probabilities enter a logarithm as max(p, 1e-7)


@dataclass
class Image:
    """One image with a class axis: one sigmoid channel became (background, foreground)."""

    y: np.ndarray  # (*space, classes)
    p: np.ndarray  # (*space, classes)
    log_p: np.ndarray  # (*space, classes)
    w: np.ndarray  # (*space,) pixel weight, 0 where ignored
    times: float  # how often the image counts, whatever is inside it
    one_channel: bool

    @property
    def classes(self):
        return range(self.y.shape[-1])


def read(y_true, y_pred, sample_weight=None, from_logits=False, ignore_class=None):
    """The batch as a list of `Image`s, whatever forms the inputs came in."""
    y_true = np.asarray(y_true, np.float64)
    y_pred = np.asarray(y_pred, np.float64)
    *pixels, channels = y_pred.shape  # pixels: (batch, *space)
    is_label = channels == 1 or y_true.shape != y_pred.shape

    # "A weight per image counts the image that often in the mean; a weight per pixel counts the
    # pixel that often inside its image."
    weight, times = np.ones(pixels), np.ones(pixels[0])
    if np.ndim(sample_weight) == 1:
        times = np.asarray(sample_weight, np.float64)
        weight[times == 0] = 0.0
    elif sample_weight is not None:
        weight = np.asarray(sample_weight, np.float64).reshape(pixels)
    if is_label:
        y_true = y_true.reshape(pixels)
    if ignore_class is not None:
        ignored = y_true == ignore_class if is_label else y_true[..., ignore_class] > 0.5
        weight = np.where(ignored, 0.0, weight)
        if is_label:
            y_true = np.where(ignored, 0.0, y_true)  # 255 is no class; its weight is 0 anyway

    if channels == 1:
        y = np.stack([1 - y_true, y_true], axis=-1)
    elif is_label:
        y = np.stack([y_true == c for c in range(channels)], axis=-1).astype(np.float64)
    else:
        y = y_true

    if from_logits:
        if channels == 1:
            z = y_pred[..., 0]
            log_p = np.stack([-np.logaddexp(0, z), -np.logaddexp(0, -z)], axis=-1)
        else:
            log_p = y_pred - np.logaddexp.reduce(y_pred, axis=-1, keepdims=True)
        p = np.exp(log_p)
    else:
        p = np.concatenate([1 - y_pred, y_pred], axis=-1) if channels == 1 else y_pred
        log_p = np.log(np.maximum(p, TINY))
    arrays = zip(y, p, log_p, weight, times, strict=True)
    return [Image(*of_image, channels == 1) for of_image in arrays]


def reduce(values, y_true, y_pred, sample_weight=None, reduction="mean", ignore_class=None, **_):
    """The loss object's return value from the values of its images."""
    if reduction == "none":
        return values
    images = read(y_true, y_pred, sample_weight, ignore_class=ignore_class)
    votes = [image.times if image.w.max() > 0 else 0.0 for image in images]
    total = sum(v * x for v, x in zip(votes, values, strict=True))
    if reduction == "sum":
        return total
    return total / sum(votes) if sum(votes) > 0 else 0.0


# ---- losses that are a weighted mean over pixels ------------------------------------------------


def _pixel_mean(image, loss):
    total = image.w.sum()
    return (image.w * loss).sum() / total if total > 0 else 0.0


def _class_factors(image, class_weight):
    """`cw_c`: the class weights scaled to a mean of 1."""
    if class_weight is None:
        return np.ones(len(image.classes))
    given = np.asarray(class_weight, np.float64)
    return given * len(given) / given.sum()


def _focal_pixels(image, factors, gamma):
    """-sum_c factor_c y_c (1-p_c)^gamma log p_c for every pixel; gamma 0 is cross-entropy."""
    loss = np.zeros(image.w.shape)
    for c in image.classes:
        focus = (1 - image.p[..., c]) ** gamma
        loss -= factors[c] * image.y[..., c] * focus * image.log_p[..., c]
    return loss


def cross_entropy(
    y_true, y_pred, sample_weight=None, *, from_logits=False, class_weight=None, ignore_class=None
):
    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        factors = _class_factors(image, class_weight)
        values.append(_pixel_mean(image, _focal_pixels(image, factors, gamma=0)))
    return np.array(values)


def weighted_cross_entropy(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    positive_weight=2.0,
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        factors = _class_factors(image, class_weight)
        factors[1:] = factors[1:] * positive_weight  # every class but the background
        values.append(_pixel_mean(image, _focal_pixels(image, factors, gamma=0)))
    return np.array(values)


def focal(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    gamma=2.0,
    alpha=None,
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        factors = _class_factors(image, class_weight)
        if alpha is not None:
            factors[0] *= 1 - alpha
            factors[1:] *= alpha
        values.append(_pixel_mean(image, _focal_pixels(image, factors, gamma)))
    return np.array(values)


def gradient_size(mask):
    """|grad m| by central differences, one-sided at the border, 0 along an axis of one pixel."""
    squares = np.zeros(mask.shape)
    for axis, length in enumerate(mask.shape):
        if length > 1:
            squares += np.gradient(mask.astype(np.float64), axis=axis) ** 2
    return np.sqrt(squares)


def adaptive_focal(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    smoothness="surface",
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        pixels = image.w.sum()
        if pixels == 0:
            values.append(0.0)
            continue
        factors = _class_factors(image, class_weight)
        share = [(image.w * image.y[..., c]).sum() / pixels for c in image.classes]
        for c in image.classes:
            factors[c] *= (1 - share[c]) / max(len(share) - 1, 1)  # two classes: divided by 1

        foreground = (image.y[..., 1:] > 0.5).any(axis=-1) & (image.w > 0)
        size = gradient_size(foreground)
        counted = image.w * (size > 0) if smoothness == "surface" else image.w
        smooth = (counted * size).sum() / counted.sum() if counted.sum() > 0 else 0.0
        gamma = sum(share[1:]) + smooth
        values.append(_pixel_mean(image, _focal_pixels(image, factors, gamma)))
    return np.array(values)


def exponential(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    foreground_weight=0.8,
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    def hit(y, p):  # exp(-y p), less its smallest value, which it takes at p = 1
        return np.exp(-y * p) - np.exp(-y)

    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        factors = _class_factors(image, class_weight)
        loss = np.zeros(image.w.shape)
        if image.one_channel:
            loss += factors[1] * foreground_weight * hit(image.y[..., 1], image.p[..., 1])
            loss += factors[0] * hit(image.y[..., 0], image.p[..., 0])
        else:
            for c in image.classes:
                y, p = image.y[..., c], image.p[..., c]
                channel = foreground_weight * hit(y, p) + hit(1 - y, 1 - p)
                loss += factors[c] * channel / len(factors)
        values.append(_pixel_mean(image, loss))
    return np.array(values)


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
        entropy = _focal_pixels(image, _class_factors(image, class_weight), gamma=0)
        values.append(_pixel_mean(image, (1 + distance_weights(image, kind)) * entropy))
    return np.array(values)


# ---- losses on overlap --------------------------------------------------------------------------


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
