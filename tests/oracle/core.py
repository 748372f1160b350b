"""What all references share: reading a batch, reducing it, and means over pixels."""

from dataclasses import dataclass, replace

import numpy as np

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


def pixel_mean(image, loss):
    total = image.w.sum()
    return (image.w * loss).sum() / total if total > 0 else 0.0


def class_factors(image, class_weight):
    """`cw_c`: the class weights scaled to a mean of 1."""
    if class_weight is None:
        return np.ones(len(image.classes))
    given = np.asarray(class_weight, np.float64)
    return given * len(given) / given.sum()


def smoothed(image, label_smoothing):
    """The image with a share of every label spread evenly over the classes."""
    count = len(image.classes)
    return replace(image, y=(1 - label_smoothing) * image.y + label_smoothing / count)


def focal_pixels(image, factors, gamma):
    """-sum_c factor_c y_c (1-p_c)^gamma log p_c for every pixel; gamma 0 is cross-entropy."""
    loss = np.zeros(image.w.shape)
    for c in image.classes:
        focus = (1 - image.p[..., c]) ** gamma
        loss -= factors[c] * image.y[..., c] * focus * image.log_p[..., c]
    return loss
