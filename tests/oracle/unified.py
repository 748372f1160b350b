"""Reference of the Unified Focal loss."""

import numpy as np

from oracle.core import class_factors, pixel_mean, read


def unified_focal(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    symmetric=False,
    delta=0.6,
    gamma=0.5,
    weight=0.5,
    smooth=1e-7,
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    values = []
    for image in read(y_true, y_pred, sample_weight, from_logits, ignore_class):
        factors = class_factors(image, class_weight)
        entropy = np.zeros(image.w.shape)
        region = 0.0
        for c in image.classes:
            y, p, log_p, w = image.y[..., c], image.p[..., c], image.log_p[..., c], image.w
            share = 1 - delta if c == 0 else delta
            focus = (1 - p) ** gamma if symmetric or c == 0 else 1.0
            entropy -= factors[c] * share * focus * y * log_p

            tp = (w * p * y).sum()
            error = delta * (w * (1 - p) * y).sum() + (1 - delta) * (w * p * (1 - y)).sum()
            miss = error / (tp + error + smooth) if error > 0 else 0.0
            if (symmetric or c > 0) and miss > 0:
                miss = miss ** (1 - gamma)
            region += factors[c] * miss / len(factors)
        values.append(weight * pixel_mean(image, entropy) + (1 - weight) * region)
    return np.array(values)
