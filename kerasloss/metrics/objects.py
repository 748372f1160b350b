"""Object metrics: how many objects were found, missed and invented; on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops
from keras.saving import register_keras_serializable

from kerasloss import _check
from kerasloss.metrics import masks
from kerasloss.metrics._empty import Empty
from kerasloss.metrics.base import SegmentationMetric
from kerasloss.metrics.masks import Average
from kerasloss.metrics.matching import check_objects, label_objects, overlaps, pairs
from kerasloss.ops.pixels import Tensor

__all__ = ["ObjectScores", "average_precision", "object_scores"]

Array = npt.NDArray[np.float64]
IOU_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def _host(owner: str, tensor: Tensor) -> npt.NDArray[Any]:
    try:
        return np.asarray(ops.convert_to_numpy(tensor))
    except Exception as error:  # every backend has its own for a tensor without a value
        raise RuntimeError(
            f"`{owner}` labels objects on the host and cannot be part of a compiled step. Call it "
            "on what `model.predict` returns, or compile the model with `run_eagerly=True` "
            "(TensorFlow)."
        ) from error


def _counts(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    sample_weight: Tensor | None,
    iou_thresholds: Sequence[float],
    min_size: int,
    connectivity: int | None,
    empty: Empty,
    **how: Any,
) -> Array:
    """True positives, false positives and false negatives; `(batch, classes, thresholds, 3)`.

    NaN for a class that does not count in an image.
    """
    for threshold in iou_thresholds:
        _check.number(owner, "iou_threshold", threshold, minimum=0.0, maximum=1.0)
    check_objects(owner, min_size, connectivity)
    masks.check(owner, {"empty": empty, **how})
    batch = masks.masks(owner, y_true, y_pred, sample_weight, **how)
    counted = _host(owner, batch.counted(empty))
    truth, predicted = (_host(owner, mask) for mask in batch.without_ignored()[:2])
    result = np.full((*counted.shape, len(iou_thresholds), 3), np.nan)
    for image, label in zip(*np.nonzero(counted), strict=True):
        objects = label_objects(truth[image, ..., label], connectivity=connectivity)
        found = label_objects(
            predicted[image, ..., label], min_size=min_size, connectivity=connectivity
        )
        _, _, iou = overlaps(objects, found)
        for index, threshold in enumerate(iou_thresholds):
            hits = len(pairs(iou, threshold)[0])
            result[image, label, index] = hits, iou.shape[1] - hits, iou.shape[0] - hits
    return result


def _rates(counts: Array) -> dict[str, Array]:
    """Precision, recall, F1 and AP of counts whose last axis is (TP, FP, FN)."""
    hits, inventions, misses = (counts[..., index] for index in range(3))
    perfect = inventions + misses == 0

    def ratio(part: Array, whole: Array) -> Array:
        value = np.where(perfect, 1.0, part / np.where(whole == 0, 1.0, whole))
        return np.where(np.isnan(hits), np.nan, value)

    return {
        "precision": ratio(hits, hits + inventions),
        "recall": ratio(hits, hits + misses),
        "f1": ratio(2 * hits, 2 * hits + inventions + misses),
        "ap": ratio(hits, hits + inventions + misses),
    }


def object_scores(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    iou_threshold: float = 0.5,
    min_size: int = 0,
    connectivity: int | None = None,
    include_background: bool = False,
    threshold: float = 0.5,
    empty: Empty = "score",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> dict[str, Array]:
    """Counts the objects of every image and class that were found, missed and invented.

    The connected objects of the target and of the prediction are paired one to one, where their
    intersection over union is above `iou_threshold` (see `kerasloss.metrics.match_objects`, which
    takes label images with touching objects). Runs on the host and needs SciPy.

    Formula, with TP pairs, FP predicted objects without and FN true objects without a partner:

    ```python
    precision = TP / (TP + FP)
    recall    = TP / (TP + FN)
    f1        = 2 TP / (2 TP + FP + FN)
    ap        = TP / (TP + FP + FN)
    ```

    Edge cases: with no object in target and prediction all are 1, with none in one of them 0.

    Args:
        y_true: integer labels or one-hot classes, as for the losses.
        y_pred: probabilities or logits, shape `(batch, *space, classes)`.
        iou_threshold: between 0 and 1; a pair has more. 0 accepts any overlap.
        min_size: predicted objects with fewer pixels are dropped; true ones never are.
        connectivity: as in `kerasloss.metrics.label_objects`.
        include_background: as in `DiceScore`.
        threshold: as in `DiceScore`.
        empty: as in `DiceScore`.
        from_logits: as in `DiceScore`.
        ignore_class: as in `DiceScore`; ignored pixels belong to no object.

    Returns:
        `precision`, `recall`, `f1`, `ap` and the counts `found`, `invented`, `missed`, each of
        shape `(batch, classes)`; NaN for a class that does not count.

    Example:

    >>> y_true = np.array([[1, 1, 0, 1, 0, 1]])
    >>> y_pred = np.array([[[0.9], [0.8], [0.1], [0.7], [0.0], [0.2]]])
    >>> scores = kerasloss.metrics.object_scores(y_true, y_pred)
    >>> [round(float(scores[name][0, 0]), 2) for name in ("precision", "recall", "f1", "ap")]
    [1.0, 0.67, 0.8, 0.67]

    Reference:
        Caicedo et al. (2019), Nucleus segmentation across imaging experiments: the 2018 Data
        Science Bowl, Nature Methods 16.
    """
    counts = _counts(
        "object_scores",
        y_true,
        y_pred,
        None,
        [iou_threshold],
        min_size,
        connectivity,
        empty,
        include_background=include_background,
        threshold=threshold,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )[:, :, 0]
    names = ("found", "invented", "missed")
    return _rates(counts) | {name: counts[..., index] for index, name in enumerate(names)}


def average_precision(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
    min_size: int = 0,
    connectivity: int | None = None,
    include_background: bool = False,
    threshold: float = 0.5,
    empty: Empty = "score",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Array:
    """Average precision of the objects as the cell-segmentation field defines it, per threshold.

    `TP / (TP + FP + FN)` at each IoU threshold, with the pairs of `object_scores`. Its mean over
    the thresholds 0.5, 0.55, ..., 0.95 is the score of the Data Science Bowl 2018. It is no area
    under a precision-recall curve: a segmentation has no confidence to sort objects by.

    Args:
        y_true: as in `object_scores`.
        y_pred: as in `object_scores`.
        iou_thresholds: numbers between 0 and 1.
        min_size: as in `object_scores`.
        connectivity: as in `object_scores`.
        include_background: as in `object_scores`.
        threshold: as in `object_scores`.
        empty: as in `object_scores`.
        from_logits: as in `object_scores`.
        ignore_class: as in `object_scores`.

    Returns:
        Array of shape `(batch, classes, thresholds)`, NaN for a class that does not count.

    Example:

    >>> y_true = np.array([[1, 1, 1, 1, 0, 1]])
    >>> y_pred = np.array([[[0.9], [0.8], [0.7], [0.2], [0.1], [0.9]]])
    >>> kerasloss.metrics.average_precision(y_true, y_pred, iou_thresholds=(0.5, 0.9))
    array([[[1.        , 0.33333333]]])
    """
    counts = _counts(
        "average_precision",
        y_true,
        y_pred,
        None,
        iou_thresholds,
        min_size,
        connectivity,
        empty,
        include_background=include_background,
        threshold=threshold,
        from_logits=from_logits,
        ignore_class=ignore_class,
    )
    return _rates(counts)["ap"]


@register_keras_serializable("kerasloss")
class ObjectScores(SegmentationMetric):
    """Precision, recall, F1 and AP of the objects of a whole data set.

    The counts of all images are added up before a ratio is taken, so that an image with many
    objects counts more. Objects are labelled on the host, so it cannot be part of a compiled
    step; feed it what the model predicts:

    ```python
    scores = kerasloss.metrics.ObjectScores(min_size=51)
    for images, targets in test_set:
        scores.update_state(targets, model.predict_on_batch(images))
    scores.result()  # {"object_scores/f1": ..., "object_scores/mean_ap": ..., ...}
    ```

    With PyTorch, and with TensorFlow in a model compiled with `run_eagerly=True`, it may also be
    among the `metrics` of `compile`.

    Formula: as for `kerasloss.metrics.object_scores`; `mean_ap` is the mean of `ap` over
    `iou_thresholds`.

    Edge cases: a data set with objects in neither target nor prediction scores 1.

    Args:
        iou_threshold: as in `kerasloss.metrics.object_scores`; of all but `mean_ap`.
        iou_thresholds: as in `kerasloss.metrics.average_precision`.
        min_size: as in `kerasloss.metrics.object_scores`.
        connectivity: as in `kerasloss.metrics.label_objects`.
        average: `"macro"` for the mean over the classes; None for one number a class, named
            `object_scores/f1/1` and so on.
        include_background: as in `DiceScore`.
        threshold: as in `DiceScore`.
        empty: as in `DiceScore`.
        from_logits: as in `DiceScore`.
        ignore_class: as in `kerasloss.metrics.object_scores`.
        name: as in `kerasloss.metrics.SegmentationMetric`.
        dtype: as in `kerasloss.metrics.SegmentationMetric`.

    Example:

    >>> y_true = np.array([[1, 1, 0, 1, 0, 1]])
    >>> y_pred = np.array([[[0.9], [0.8], [0.1], [0.7], [0.0], [0.2]]])
    >>> scores = kerasloss.metrics.ObjectScores()(y_true, y_pred)
    >>> round(float(scores["object_scores/f1"]), 2)
    0.8

    Reference:
        Caicedo et al. (2019), Nucleus segmentation across imaging experiments: the 2018 Data
        Science Bowl, Nature Methods 16.
    """

    function = staticmethod(object_scores)

    def __init__(
        self,
        *,
        iou_threshold: float = 0.5,
        iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
        min_size: int = 0,
        connectivity: int | None = None,
        average: Average = "macro",
        include_background: bool = False,
        threshold: float = 0.5,
        empty: Empty = "score",
        from_logits: bool = False,
        ignore_class: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        for value in (iou_threshold, *iou_thresholds):
            _check.number("ObjectScores", "iou_threshold", value, minimum=0.0, maximum=1.0)
        check_objects("ObjectScores", min_size, connectivity)
        super().__init__(
            iou_threshold=iou_threshold,
            iou_thresholds=iou_thresholds,
            min_size=min_size,
            connectivity=connectivity,
            average=average,
            include_background=include_background,
            threshold=threshold,
            empty=empty,
            from_logits=from_logits,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )

    def rows(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None) -> Tensor:
        counts = _counts(
            "ObjectScores",
            y_true,
            y_pred,
            sample_weight,
            [self.iou_threshold, *self.iou_thresholds],
            self.min_size,
            self.connectivity,
            self.empty,
            include_background=self.include_background,
            threshold=self.threshold,
            from_logits=self.from_logits,
            ignore_class=self.ignore_class,
        )
        rows = np.moveaxis(counts, 1, -1).reshape((len(counts), -1, counts.shape[1]))
        return ops.convert_to_tensor(rows.astype("float32"))

    def result(self) -> dict[str, Tensor]:
        """The scores by name; empty as long as nothing has been counted."""
        if self._sums is None:
            return {}
        state = np.asarray(ops.convert_to_numpy(self._state()), "float64")
        counts = np.moveaxis(state[:-2].reshape((-1, 3, state.shape[-1])), 1, -1)
        rates = _rates(np.where(state[-2, None, :, None] > 0, counts, np.nan))
        scores = {name: value[0] for name, value in rates.items()}
        scores["mean_ap"] = rates["ap"][1:].mean(axis=0)
        numbers: dict[str, float] = {}
        for name, values in scores.items():
            if self.average is None:
                for label, value in zip(self._labels or (), values, strict=True):
                    numbers[f"{self.name}/{name}/{label}"] = float(value)
            else:
                kept = values[~np.isnan(values)]
                numbers[f"{self.name}/{name}"] = float(kept.mean()) if kept.size else np.nan
        return {
            name: ops.convert_to_tensor(value, dtype=self.dtype) for name, value in numbers.items()
        }
