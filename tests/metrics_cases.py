"""What the tests of the metrics run: the classes in `kerasloss.metrics.__all__`, and inputs."""

import inspect

import numpy as np
from cases import Case
from scipy import ndimage

from kerasloss import metrics

CLASSES = [
    item
    for item in (getattr(metrics, name) for name in metrics.__all__)
    if inspect.isclass(item) and issubclass(item, metrics.SegmentationMetric)
    if item is not metrics.SegmentationMetric
]
IN_GRAPH = [item for item in CLASSES if item is not metrics.ObjectScores]

# Another legal value of every argument, for images of two space axes.
OTHER_VALUE = {
    "absolute": True,
    "average": None,
    "connectivity": 1,
    "empty": "skip",
    "from_logits": True,
    "ignore_class": 255,
    "include_background": True,
    "iou_threshold": 0.3,
    "iou_thresholds": [0.2, 0.6],
    "iterations": 2,
    "min_size": 4,
    "percentile": 50.0,
    "pool": "dataset",
    "spacing": [2.0, 0.5],
    "threshold": 0.3,
    "tolerance": 2.0,
    "width": 3,
}


def twin(metric):
    return getattr(metrics, metric().name)


def arguments(metric):
    """Name to default of the arguments of a class, beside name and dtype."""
    signature = inspect.signature(metric).parameters
    return {name: p.default for name, p in signature.items() if name not in ("name", "dtype")}


def images(channels, count=7, space=(12, 11), seed=0):
    """Integer labels and probabilities that resemble them, with some empty images."""
    rng = np.random.default_rng([seed, channels])
    y_true = np.concatenate(
        [Case(channels, space=space).data(seed=s)[0] for s in range(seed, seed + count)]
    )[:count]
    y_true[1] = 0
    if channels > 2:
        y_true[2] = np.where(y_true[2] == 2, 0, y_true[2])
    one_hot = np.eye(max(2, channels))[y_true.astype(int)]
    noise = rng.normal(size=one_hot.shape)
    noise = ndimage.gaussian_filter(noise, [0, *[1.0] * len(space), 0])
    score = one_hot + 6 * noise
    score[3, ..., 0] += 25  # predicted empty
    p = np.exp(score) / np.exp(score).sum(axis=-1, keepdims=True)
    return y_true.astype("int32"), (p[..., 1:] if channels == 1 else p).astype("float32")
