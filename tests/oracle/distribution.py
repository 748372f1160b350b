"""References of the losses that are a weighted mean over pixels."""

import numpy as np

from oracle.core import TINY, class_factors, focal_pixels, pixel_mean, read, smoothed


def cross_entropy(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    label_smoothing=0.0,
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        factors = class_factors(image, class_weight)
        values.append(
            pixel_mean(image, focal_pixels(smoothed(image, label_smoothing), factors, gamma=0))
        )
    return np.array(values)


def weighted_cross_entropy(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    positive_weight=2.0,
    label_smoothing=0.0,
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        factors = class_factors(image, class_weight)
        factors[1:] = factors[1:] * positive_weight  # every class but the background
        values.append(
            pixel_mean(image, focal_pixels(smoothed(image, label_smoothing), factors, gamma=0))
        )
    return np.array(values)


def focal(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    gamma=2.0,
    alpha=None,
    label_smoothing=0.0,
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        factors = class_factors(image, class_weight)
        if alpha is not None:
            factors[0] *= 1 - alpha
            factors[1:] *= alpha
        values.append(
            pixel_mean(image, focal_pixels(smoothed(image, label_smoothing), factors, gamma))
        )
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
        factors = class_factors(image, class_weight)
        share = [(image.w * image.y[..., c]).sum() / pixels for c in image.classes]
        for c in image.classes:
            factors[c] *= (1 - share[c]) / max(len(share) - 1, 1)  # two classes: divided by 1

        foreground = (image.y[..., 1:] > 0.5).any(axis=-1) & (image.w > 0)
        size = gradient_size(foreground)
        counted = image.w * (size > 0) if smoothness == "surface" else image.w
        smooth = (counted * size).sum() / counted.sum() if counted.sum() > 0 else 0.0
        gamma = sum(share[1:]) + smooth
        values.append(pixel_mean(image, focal_pixels(image, factors, gamma)))
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
        factors = class_factors(image, class_weight)
        loss = np.zeros(image.w.shape)
        if image.one_channel:
            loss += factors[1] * foreground_weight * hit(image.y[..., 1], image.p[..., 1])
            loss += factors[0] * hit(image.y[..., 0], image.p[..., 0])
        else:
            for c in image.classes:
                y, p = image.y[..., c], image.p[..., c]
                channel = foreground_weight * hit(y, p) + hit(1 - y, 1 - p)
                loss += factors[c] * channel / len(factors)
        values.append(pixel_mean(image, loss))
    return np.array(values)


def poly(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    epsilon=1.0,
    gamma=0.0,
    alpha=None,
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        factors = class_factors(image, class_weight)
        loss = np.zeros(image.w.shape)
        for c in image.classes:
            balance = 1.0 if alpha is None else alpha if c > 0 else 1 - alpha
            focus = (1 - image.p[..., c]) ** gamma
            cost = -balance * focus * image.log_p[..., c] + epsilon * focus * (1 - image.p[..., c])
            loss += factors[c] * image.y[..., c] * cost
        values.append(pixel_mean(image, loss))
    return np.array(values)


def asymmetric(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    positive_gamma=1.0,
    negative_gamma=4.0,
    margin=0.05,
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        factors = class_factors(image, class_weight)
        loss = np.zeros(image.w.shape)
        for c in [1] if image.one_channel else image.classes:
            y, p = image.y[..., c], image.p[..., c]
            shifted = np.maximum(p - margin, 0)
            if image.one_channel:  # log(1 - p) is that of the other class
                log_rest = np.minimum(np.logaddexp(image.log_p[..., 0], np.log(margin or TINY)), 0)
                if margin == 0:
                    log_rest = image.log_p[..., 0]
            else:
                log_rest = np.log(np.maximum(1 - shifted, TINY))
            positive = -y * (1 - p) ** positive_gamma * image.log_p[..., c]
            negative = -(1 - y) * shifted**negative_gamma * log_rest
            if image.one_channel:
                loss += factors[1] * positive + factors[0] * negative
            else:
                loss += factors[c] * (positive + negative) / len(factors)
        values.append(pixel_mean(image, loss))
    return np.array(values)


def top_k_cross_entropy(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    fraction=0.1,
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        entropy = focal_pixels(image, class_factors(image, class_weight), gamma=0)
        budget = fraction * image.w.sum()
        total, left = 0.0, budget
        for cost, weight in sorted(
            zip(entropy.ravel(), image.w.ravel(), strict=True), reverse=True
        ):
            taken = min(weight, left)  # the last pixel in part
            total += taken * cost
            left -= taken
        values.append(total / budget if budget > 0 else 0.0)
    return np.array(values)
