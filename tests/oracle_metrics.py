"""The metrics once more, in float64 NumPy and plain loops, from their definitions alone.

Distances are the smallest of all pairs of points, not a distance transform.
"""

import itertools

import numpy as np
from scipy import ndimage
from scipy.spatial.distance import cdist


def class_masks(y_true, y_pred, *, from_logits=False, threshold=0.5, include_background=False):
    """Boolean `(batch, *space)` of every class, target and prediction, of integer labels."""
    if y_pred.shape[-1] == 1:
        score = y_pred[..., 0].astype("float64")
        if from_logits:
            score = 1 / (1 + np.exp(-score))
        found = (score > threshold).astype(int)
    else:
        found = y_pred.argmax(axis=-1)
    classes = range(0 if include_background else 1, max(2, y_pred.shape[-1]))
    return [(y_true == c, found == c) for c in classes]


def per_image(value, y_true, y_pred, *, weight=None, **how):
    """`value(truth, predicted, weight)` of every image and class, shape `(batch, classes)`."""
    weight = np.ones(y_true.shape) if weight is None else weight
    masks = class_masks(y_true, y_pred, **how)
    return np.array(
        [[value(t[i], p[i], weight[i]) for t, p in masks] for i in range(len(y_true))], "float64"
    )


def counts(truth, predicted, weight):
    hit = false_alarm = miss = rejection = 0.0
    for t, p, w in zip(truth.ravel(), predicted.ravel(), weight.ravel(), strict=True):
        hit += w * (t and p)
        false_alarm += w * (p and not t)
        miss += w * (t and not p)
        rejection += w * (not t and not p)
    return hit, false_alarm, miss, rejection


def ratio(part, whole, wrong):
    if whole == 0:
        return 1.0 if wrong == 0 else 0.0
    return part / whole


def dice_score(t, p, w):
    hit, extra, miss, _ = counts(t, p, w)
    return ratio(2 * hit, 2 * hit + extra + miss, extra + miss)


def iou_score(t, p, w):
    hit, extra, miss, _ = counts(t, p, w)
    return ratio(hit, hit + extra + miss, extra + miss)


def precision(t, p, w):
    hit, extra, miss, _ = counts(t, p, w)
    return ratio(hit, hit + extra, extra + miss)


def recall(t, p, w):
    hit, extra, miss, _ = counts(t, p, w)
    return ratio(hit, hit + miss, extra + miss)


def specificity(t, p, w):
    _, extra, miss, rejection = counts(t, p, w)
    return ratio(rejection, rejection + extra, extra + miss)


def accuracy(t, p, w):
    hit, extra, miss, rejection = counts(t, p, w)
    return (hit + rejection) / (hit + extra + miss + rejection)


def area_error(t, p, w):
    true, claimed = (w * t).sum(), (w * p).sum()
    if true == 0:
        return 0.0 if claimed == 0 else 1.0
    return claimed / true - 1


def outline(mask):
    """Pixels of a mask with a neighbour outside it or outside the image."""
    result = np.zeros_like(mask)
    for index in np.argwhere(mask):
        for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
            near = index.copy()
            near[axis] += step
            if not 0 <= near[axis] < mask.shape[axis] or not mask[tuple(near)]:
                result[tuple(index)] = True
    return result


def directed(t, p, spacing):
    """Distances from the prediction's outline to the target's, and the other way round."""
    spacing = np.ones(t.ndim) if spacing is None else np.asarray(spacing)
    truth, predicted = (np.argwhere(outline(mask)) * spacing for mask in (t, p))
    between = cdist(predicted, truth)
    return between.min(axis=1), between.min(axis=0)


def diagonal(shape, spacing):
    spacing = np.ones(len(shape)) if spacing is None else np.asarray(spacing)
    return float(np.sqrt(np.sum((np.array(shape) * spacing) ** 2)))


def hausdorff_distance(t, p, w, percentile=95.0, spacing=None):
    if not t.any() or not p.any():
        return 0.0 if t.any() == p.any() else diagonal(t.shape, spacing)
    return max(np.percentile(d, percentile) for d in directed(t, p, spacing))


def average_surface_distance(t, p, w, spacing=None):
    if not t.any() or not p.any():
        return 0.0 if t.any() == p.any() else diagonal(t.shape, spacing)
    return np.concatenate(directed(t, p, spacing)).mean()


def normalized_surface_distance(t, p, w, tolerance=1.0, spacing=None):
    if not t.any() or not p.any():
        return float(t.any() == p.any())
    return np.mean(np.concatenate(directed(t, p, spacing)) <= tolerance + 1e-9)


def boundary_iou(t, p, w, width=1):
    """Region of the boundary by repeated erosion, as in the authors' code."""
    cube = np.ones((3,) * t.ndim)
    t, p = (m & ~ndimage.binary_erosion(m, cube, iterations=width) for m in (t, p))
    return (t & p).sum() / (t | p).sum() if (t | p).any() else 1.0


def cb_dice_score(y_true, y_pred, weight=None, **how):
    """One value an image: Dice of every class, the rarer the class the heavier."""
    weight = np.ones(y_true.shape) if weight is None else weight
    masks = class_masks(y_true, y_pred, include_background=True, **how)
    scores = []
    for i in range(len(y_true)):
        total = shares = 0.0
        for t, p in masks:
            area, claimed = (weight[i] * t[i]).sum(), (weight[i] * p[i]).sum()
            if area == 0 and claimed > 0:
                total, shares = 0.0, 1.0
                break
            if area > 0:
                total += 2 * (weight[i] * (t[i] & p[i])).sum() / (area + claimed) / area
                shares += 1 / area
        scores.append(total / shares)
    return np.array(scores)


def best_pairs(iou, threshold):
    """Largest number of one-to-one pairs with an overlap above a threshold, by trying all."""
    rows, columns = iou.shape
    if rows > columns:
        return best_pairs(iou.T, threshold)
    best = 0
    for choice in itertools.permutations(range(columns), rows):
        best = max(best, sum(iou[r, c] > threshold for r, c in enumerate(choice)))
    return best
