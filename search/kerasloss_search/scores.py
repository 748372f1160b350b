"""What a trial is judged by: a metric on whole images, never the loss."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kerasloss_search.dataset import IGNORED

__all__ = ["dice_per_image", "paired_difference", "to_labels"]


def to_labels(
    prediction: npt.NDArray[np.floating], *, from_logits: bool = False
) -> npt.NDArray[np.uint8]:
    """Class of every pixel: the likelier one of a sigmoid channel, else the largest channel."""
    if prediction.shape[-1] == 1:
        return (prediction[..., 0] > (0.0 if from_logits else 0.5)).astype(np.uint8)
    labels: npt.NDArray[np.uint8] = np.argmax(prediction, axis=-1).astype(np.uint8)
    return labels


def dice_per_image(
    truth: npt.NDArray[np.uint8], predicted: npt.NDArray[np.uint8], classes: int
) -> npt.NDArray[np.float64]:
    """Dice coefficient of every image, the mean over its foreground classes.

    A class counts in an image where it is present or predicted, so that a missed and an invented
    object both cost. An image without any scores 1.

    Args:
        truth: classes, shape (images, height, width); 255 is left out.
        predicted: classes, same shape.
        classes: number of classes, background included.
    """
    valid = truth != IGNORED
    scores = np.full((classes - 1, len(truth)), np.nan)
    for label in range(1, classes):
        there, claimed = (truth == label) & valid, (predicted == label) & valid
        size = there.sum(axis=(1, 2)) + claimed.sum(axis=(1, 2))
        both = (there & claimed).sum(axis=(1, 2))
        scores[label - 1] = np.where(size > 0, 2.0 * both / np.maximum(size, 1), np.nan)
    counted = ~np.isnan(scores)
    total = np.where(counted, scores, 0.0).sum(axis=0)
    return np.where(counted.any(axis=0), total / np.maximum(counted.sum(axis=0), 1), 1.0)


def paired_difference(
    ours: npt.NDArray[np.floating], theirs: npt.NDArray[np.floating], seed: int = 0
) -> tuple[float, float, float]:
    """Mean difference of two scores of the same images, with a 95 % bootstrap interval."""
    difference = np.asarray(ours, float) - np.asarray(theirs, float)
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(difference), size=(10_000, len(difference)))
    low, high = np.quantile(difference[draws].mean(axis=1), [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)
