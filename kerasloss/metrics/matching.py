"""Objects of a mask, and which object of a prediction is which of the target; on the host."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kerasloss import _check

__all__ = ["Matches", "label_objects", "match_objects"]


class Matches(NamedTuple):
    """Pairs of objects of two label images.

    Attributes:
        truth: numbers of the matched true objects, shape `(pairs,)`.
        predicted: numbers of the predicted objects they are matched with, same shape.
        iou: their intersection over union, same shape.
        missed: numbers of the true objects without a partner.
        invented: numbers of the predicted objects without a partner.
    """

    truth: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    iou: npt.NDArray[np.float64]
    missed: npt.NDArray[np.int64]
    invented: npt.NDArray[np.int64]


def scipy_module(name: str) -> Any:
    """A part of SciPy, imported when it is first needed.

    Raises:
        ImportError: if SciPy is not installed; the message says how to install it.
    """
    try:
        if name == "ndimage":
            from scipy import ndimage as module
        else:
            from scipy import optimize as module
    except ImportError as error:
        raise ImportError(
            "Metrics of objects need SciPy: pip install kerasloss[metrics]"
        ) from error
    return module


def label_objects(
    mask: Any, *, min_size: int = 0, connectivity: int | None = None
) -> npt.NDArray[np.int64]:
    """Numbers the connected objects of one mask.

    Needs SciPy.

    Args:
        mask: shape `(*space)`, non-zero is inside.
        min_size: objects with fewer pixels are dropped.
        connectivity: how many axes a step between neighbours may take at once: 1 for edges (4
            neighbours in an image), 2 for corners too (8); None for all axes.

    Returns:
        Array of the same shape: 0 outside, 1, 2, ... inside the objects.

    Example:

    >>> kerasloss.metrics.label_objects(np.array([[1, 0, 1, 1]])).tolist()
    [[1, 0, 2, 2]]
    """
    ndimage = scipy_module("ndimage")
    inside = np.asarray(mask) != 0
    check_objects("label_objects", min_size, connectivity)
    rank = inside.ndim
    structure = ndimage.generate_binary_structure(rank, min(connectivity or rank, rank))
    objects, count = ndimage.label(inside, structure)
    sizes = np.bincount(objects.ravel(), minlength=count + 1)
    kept = sizes >= min_size
    kept[0] = False
    numbers: npt.NDArray[np.int64] = np.where(kept, np.cumsum(kept), 0)[objects]
    return numbers


def match_objects(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, *, iou_threshold: float = 0.5
) -> Matches:
    """Pairs the objects of two label images, each with one partner at most.

    Use it on instance labels, in which touching objects have numbers of their own. A pair needs an
    intersection over union above `iou_threshold`; among all ways to pair, the one with most pairs
    is taken, and of those the one with the largest sum (Hungarian method). With a threshold of 0.5
    or more there is only one way. Needs SciPy for less.

    Args:
        y_true: integer labels of the true objects, shape `(*space)`, 0 for the background.
        y_pred: integer labels of the predicted objects, same shape.
        iou_threshold: between 0 and 1; a pair has more. 0 accepts any overlap.

    Example:

    >>> y_true = np.array([1, 1, 1, 0, 2, 2, 0, 0])
    >>> y_pred = np.array([0, 5, 5, 0, 0, 0, 0, 7])
    >>> pairs = kerasloss.metrics.match_objects(y_true, y_pred)
    >>> pairs.truth.tolist(), pairs.predicted.tolist(), pairs.iou.round(2).tolist()
    ([1], [5], [0.67])
    """
    truth_ids, predicted_ids, iou = overlaps(y_true, y_pred)
    rows, columns = pairs(iou, iou_threshold)
    return Matches(
        truth_ids[rows],
        predicted_ids[columns],
        iou[rows, columns],
        np.delete(truth_ids, rows),
        np.delete(predicted_ids, columns),
    )


def overlaps(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The numbers of both sides' objects, and the intersection over union of every pair."""
    truth, predicted = np.asarray(y_true), np.asarray(y_pred)
    if truth.shape != predicted.shape:
        raise _check.error(
            "match_objects",
            "two label images of the same shape",
            f"y_true {truth.shape}, y_pred {predicted.shape}",
        )
    truth_ids, truth_index = np.unique(truth.ravel(), return_inverse=True)
    predicted_ids, predicted_index = np.unique(predicted.ravel(), return_inverse=True)
    shape = (len(truth_ids), len(predicted_ids))
    joint = np.bincount(truth_index * shape[1] + predicted_index, minlength=shape[0] * shape[1])
    common = joint.reshape(shape)
    union = common.sum(axis=1, keepdims=True) + common.sum(axis=0, keepdims=True) - common
    iou = common / np.maximum(union, 1)
    return (
        truth_ids[truth_ids != 0].astype(np.int64),
        predicted_ids[predicted_ids != 0].astype(np.int64),
        iou[truth_ids != 0][:, predicted_ids != 0],
    )


def pairs(
    iou: npt.NDArray[np.float64], threshold: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of the best one-to-one matching of what overlaps more than `threshold`."""
    fits = iou > threshold
    if threshold >= 0.5:  # no object can have two partners with which it shares more than half
        rows, columns = np.nonzero(fits)
        return rows, columns
    # A further pair is worth more than any sum of overlaps.
    worth = np.where(fits, 1.0 + iou / (1.0 + min(iou.shape)), 0.0)
    rows, columns = scipy_module("optimize").linear_sum_assignment(worth, maximize=True)
    chosen = fits[rows, columns]
    return rows[chosen], columns[chosen]


def check_objects(owner: str, min_size: int, connectivity: int | None) -> None:
    """Checks what an object is."""
    _check.number(owner, "min_size", min_size, minimum=0)
    if connectivity is not None and (
        isinstance(connectivity, bool) or connectivity not in (1, 2, 3)
    ):
        raise _check.error(
            owner, "`connectivity` to be None, 1, 2 or 3", f"connectivity={connectivity!r}"
        )
