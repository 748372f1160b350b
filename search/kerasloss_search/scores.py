"""What a trial is judged by: metrics on whole images, never the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kerasloss_search.dataset import IGNORED

__all__ = ["SCORES", "TIME", "Score", "dice_per_image", "to_labels"]

Labels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """A way to judge predictions.

    Attributes:
        name: in study files and results.
        title: in tables and plots.
        higher_is_better: whether more is better.
        unit: `"px"`, `"s"` or nothing.
        per_image: from true and predicted classes, both (images, height, width), and the number of
            classes to the score of every image; None for what is no matter of images.
    """

    name: str
    title: str
    higher_is_better: bool
    unit: str = ""
    per_image: Callable[[Labels, Labels, int], Values] | None = None

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return 1 if self.higher_is_better else -1


def to_labels(prediction: npt.NDArray[np.floating], *, from_logits: bool = False) -> Labels:
    """Class of every pixel: the likelier one of a sigmoid channel, else the largest channel."""
    if prediction.shape[-1] == 1:
        return (prediction[..., 0] > (0.0 if from_logits else 0.5)).astype(np.uint8)
    labels: Labels = np.argmax(prediction, axis=-1).astype(np.uint8)
    return labels


def dice_per_image(truth: Labels, predicted: Labels, classes: int) -> Values:
    """Dice coefficient of every image, the mean over its foreground classes.

    A class counts in an image where it is present or predicted, so that a missed and an invented
    object both cost. An image without any scores 1.

    Args:
        truth: classes, shape (images, height, width); 255 is left out.
        predicted: classes, same shape.
        classes: number of classes, background included.
    """
    return _overlap(truth, predicted, classes, lambda both, size: 2.0 * both / size)


def _iou_per_image(truth: Labels, predicted: Labels, classes: int) -> Values:
    return _overlap(truth, predicted, classes, lambda both, size: both / (size - both))


def _overlap(
    truth: Labels,
    predicted: Labels,
    classes: int,
    ratio: Callable[[Values, Values], Values],
) -> Values:
    valid = truth != IGNORED
    scores = np.full((len(truth), classes - 1), np.nan)
    for label in range(1, classes):
        there, claimed = (truth == label) & valid, (predicted == label) & valid
        size = (there.sum(axis=(1, 2)) + claimed.sum(axis=(1, 2))).astype(np.float64)
        both = (there & claimed).sum(axis=(1, 2)).astype(np.float64)
        scores[:, label - 1] = np.where(size > 0, ratio(both, np.maximum(size, 1)), np.nan)
    return _mean_of_present(scores, ~np.isnan(scores), perfect=1.0)


def _mean_of_present(values: Values, present: npt.NDArray[np.bool_], perfect: float) -> Values:
    """Mean over the classes that an image or its prediction has; without any, nothing is wrong."""
    total = np.where(present, values, 0.0).sum(axis=1)
    mean: Values = np.where(
        present.any(axis=1), total / np.maximum(present.sum(axis=1), 1), perfect
    )
    return mean


def _hd95_per_image(truth: Labels, predicted: Labels, classes: int) -> Values:
    from kerasloss.metrics import hausdorff_distance

    return _by_metric(hausdorff_distance, truth, predicted, classes, 0.0, percentile=95.0)


def _nsd_per_image(truth: Labels, predicted: Labels, classes: int) -> Values:
    from kerasloss.metrics import normalized_surface_distance

    return _by_metric(normalized_surface_distance, truth, predicted, classes, 1.0, tolerance=1.0)


def _object_f1_per_image(truth: Labels, predicted: Labels, classes: int) -> Values:
    from kerasloss.metrics import object_scores

    def f1(*arrays: Any, **how: Any) -> Any:
        return object_scores(*arrays, **how)["f1"]

    return _by_metric(f1, truth, predicted, classes, 1.0)


def _by_metric(
    metric: Callable[..., Any],
    truth: Labels,
    predicted: Labels,
    classes: int,
    perfect: float,
    **how: Any,
) -> Values:
    """A metric of `kerasloss` on hard predictions."""
    from keras import ops

    hard = np.eye(classes, dtype=np.float32)[predicted]
    valid = truth != IGNORED
    ignored = None if valid.all() else IGNORED
    found = metric(truth.astype(np.int32), hard, ignore_class=ignored, **how)
    values = np.asarray(ops.convert_to_numpy(found), np.float64)
    present = np.stack(
        [
            (((truth == label) | (predicted == label)) & valid).any(axis=(1, 2))
            for label in range(1, classes)
        ],
        axis=1,
    )
    return _mean_of_present(values, present, perfect)


TIME = "time"

SCORES: dict[str, Score] = {
    score.name: score
    for score in (
        Score("dice", "Dice", True, per_image=dice_per_image),
        Score("iou", "IoU", True, per_image=_iou_per_image),
        Score("hd95", "Hausdorff distance (95 %)", False, "px", per_image=_hd95_per_image),
        Score("nsd", "Normalised surface Dice (1 px)", True, per_image=_nsd_per_image),
        Score("object_f1", "F1 of the objects", True, per_image=_object_f1_per_image),
        Score(TIME, "Training time to the best epoch", False, "s"),
    )
}
