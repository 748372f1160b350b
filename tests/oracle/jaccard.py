"""Reference of the Lovász extension of the Jaccard loss."""

import numpy as np

from oracle.core import read
from oracle.region import pools


def extension(errors, y, w):
    """sum_k m_k (J(first k wrong) - J(first k - 1 wrong)), worst pixel first."""
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    target = (w * y).sum()
    lost = gained = before = total = 0.0
    for i in order:
        lost += w[i] * y[i]
        gained += w[i] * (1 - y[i])
        union = target + gained
        after = 1 - (target - lost) / union if union > 0 else 0.0
        total += errors[i] * (after - before)
        before = after
    return total


def lovasz(
    y_true,
    y_pred,
    sample_weight=None,
    *,
    pool="image",
    from_logits=False,
    class_weight=None,
    ignore_class=None,
):
    images = read(y_true, y_pred, sample_weight, from_logits, ignore_class)
    hinge = from_logits and images[0].one_channel
    asked = class_weight
    if asked is None:
        asked = [0, 1] if images[0].one_channel else [1] * len(images[0].classes)
    values = []
    for group in pools(images, pool):
        top = bottom = 0.0
        for c, factor in enumerate(asked):
            y = np.concatenate([image.y[..., c].ravel() for image in group])
            p = np.concatenate([image.p[..., c].ravel() for image in group])
            w = np.concatenate([image.times * image.w.ravel() for image in group])
            errors = abs(y - p)
            if hinge:
                log_p = np.concatenate([image.log_p.reshape(-1, 2) for image in group])
                z = log_p[:, 1] - log_p[:, 0]
                errors = np.maximum(0, 1 - (z if c == 1 else -z) * (2 * y - 1))
            if images[0].one_channel or (w * y).sum() > 0:
                top += factor * extension(errors, y, w)
                bottom += factor
        values.append(top / bottom if bottom > 0 else 0.0)
    return np.array(values)
