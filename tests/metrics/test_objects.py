"""Objects: labels, one-to-one matching, scores over a data set, against brute force."""

import sys

import numpy as np
import oracle_metrics as oracle
import pytest
from metrics_cases import images
from skimage import measure

from kerasloss import metrics

pytestmark = pytest.mark.once


def pixels(*lengths, gap=1):
    """A line of objects of these lengths; a negative length is a hole."""
    parts = [np.full(abs(n), int(n > 0)) for n in lengths]
    return np.concatenate(parts)


def as_prediction(mask):
    return np.asarray(mask, "float32")[None, ..., None]


# ---- labels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(60,), (20, 21), (8, 9, 7)])
def test_labels(shape):
    mask = np.random.default_rng(0).random(shape) < 0.35
    for connectivity in (*range(1, len(shape) + 1), None):
        expected = measure.label(mask, connectivity=connectivity)
        np.testing.assert_array_equal(
            metrics.label_objects(mask, connectivity=connectivity), expected
        )
        sizes = np.bincount(expected.ravel())
        large = metrics.label_objects(mask, min_size=3, connectivity=connectivity)
        np.testing.assert_array_equal(large > 0, mask & (sizes[expected] >= 3))
        assert sorted(set(large.ravel())) == list(range(large.max() + 1))


def test_labels_of_nothing():
    assert metrics.label_objects(np.zeros((4, 5))).tolist() == np.zeros((4, 5)).tolist()
    assert metrics.label_objects(np.ones((1, 2)), min_size=3).max() == 0


# ---- matching -----------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5, 0.7])
def test_most_pairs(threshold):
    """Random label images of few objects, against every possible matching."""
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(60):
        truth, predicted = np.zeros((2, 30), int)
        for image, count in ((truth, 4), (predicted, 5)):
            for number in range(1, count + 1):
                start = rng.integers(0, 27)
                image[start : start + rng.integers(1, 9)] = 10 * number
        matches = metrics.match_objects(truth, predicted, iou_threshold=threshold)
        true_ids, predicted_ids = (np.unique(x)[np.unique(x) > 0] for x in (truth, predicted))
        iou = np.array(
            [
                [
                    ((truth == a) & (predicted == b)).sum()
                    / ((truth == a) | (predicted == b)).sum()
                    for b in predicted_ids
                ]
                for a in true_ids
            ]
        )
        assert len(matches.iou) == oracle.best_pairs(iou, threshold)
        assert (matches.iou > threshold).all()
        for a, b, value in zip(matches.truth, matches.predicted, matches.iou, strict=True):
            assert iou[true_ids == a, predicted_ids == b] == pytest.approx([value])
        # One to one, and nobody is lost.
        assert sorted([*matches.truth, *matches.missed]) == true_ids.tolist()
        assert sorted([*matches.predicted, *matches.invented]) == predicted_ids.tolist()
        found += len(matches.iou)
    assert found >= 20


def test_one_object_does_not_match_two():
    truth = np.array([1, 1, 1, 1, 1, 1])
    predicted = np.array([1, 1, 1, 0, 2, 2])
    for threshold in (0.0, 0.3):
        matches = metrics.match_objects(truth, predicted, iou_threshold=threshold)
        assert matches.predicted.tolist() == [1] and matches.invented.tolist() == [2]


def test_more_pairs_beat_a_better_pair():
    """Greedily, 1 takes 1 (0.5) and leaves 2 alone; there is a way to pair both."""
    truth = np.array([1, 1, 1, 1, 2, 0])
    predicted = np.array([2, 1, 1, 1, 1, 0])
    matches = metrics.match_objects(truth, predicted, iou_threshold=0.15)
    found = np.stack([matches.truth, matches.predicted], axis=-1)
    assert sorted(found.tolist()) == [[1, 2], [2, 1]]


def test_an_overlap_at_the_threshold_is_no_pair():
    truth, predicted = np.array([1, 1]), np.array([1, 0])
    assert len(metrics.match_objects(truth, predicted, iou_threshold=0.5).iou) == 0
    assert len(metrics.match_objects(truth, predicted, iou_threshold=0.49).iou) == 1


def test_label_images_of_different_shape_are_refused():
    with pytest.raises(ValueError, match="shape"):
        metrics.match_objects(np.zeros((2, 3)), np.zeros((3, 2)))


# ---- scores -------------------------------------------------------------------------------------


def test_published_counts():
    """381 bubbles of which 334 were found, with 68 false alarms (Agarwal et al. 2023).

    Precision .8308, recall .8766 and TP / (TP + FP + FN) .7439; the study's own code swaps them.
    """
    truth, predicted = np.zeros((2, 1, 1000), int)
    truth[0, 0 : 2 * 381 : 2] = 1
    predicted[0, 2 * 47 : 2 * (381 + 68) : 2] = 1
    scores = metrics.object_scores(truth, as_prediction(predicted[0]))
    counts = [scores[name].item() for name in ("found", "invented", "missed")]
    assert counts == [334, 68, 47]
    assert scores["precision"].item() == pytest.approx(0.8308, abs=5e-5)
    assert scores["recall"].item() == pytest.approx(0.8766, abs=5e-5)
    assert scores["ap"].item() == pytest.approx(0.7439, abs=5e-5)
    assert scores["f1"].item() == pytest.approx(2 * 334 / (2 * 334 + 68 + 47))


def test_scores_by_image_and_class():
    y_true, y_pred = images(3, space=(24, 24))
    scores = metrics.object_scores(y_true, y_pred, iou_threshold=0.2)
    precision = metrics.average_precision(y_true, y_pred, iou_thresholds=(0.2, 0.6))
    assert precision.shape == (7, 2, 2)
    np.testing.assert_array_equal(precision[..., 0], scores["ap"])
    for column, (truth, predicted) in enumerate(oracle.class_masks(y_true, y_pred)):
        for i in range(7):
            t, p = (measure.label(m[i], connectivity=2) for m in (truth, predicted))
            matched = len(metrics.match_objects(t, p, iou_threshold=0.2).iou)
            assert scores["found"][i, column] == matched
            assert scores["missed"][i, column] == t.max() - matched
            assert scores["invented"][i, column] == p.max() - matched
    assert scores["found"].sum() > 5


def test_min_size_is_of_predicted_objects():
    truth = pixels(1, -2, 5, -2)
    predicted = pixels(1, -2, 5, -1, 1)
    scores = metrics.object_scores(truth[None], as_prediction(predicted), min_size=2)
    assert [scores[n].item() for n in ("found", "invented", "missed")] == [1, 0, 1]


def test_connectivity():
    mask = np.eye(3)
    for connectivity, count in ((None, 1), (2, 1), (1, 3)):
        scores = metrics.object_scores(mask[None], as_prediction(mask), connectivity=connectivity)
        assert scores["found"].item() == count


def test_ignored_pixels_belong_to_no_object():
    truth, predicted = pixels(3, -2, 255 - 252), pixels(3, -2, 3)
    truth[5:] = 255
    scores = metrics.object_scores(truth[None], as_prediction(predicted), ignore_class=255)
    assert [scores[n].item() for n in ("found", "invented", "missed")] == [1, 0, 0]


def test_data_set():
    """Counts are added up over the images, class by class, before any ratio."""
    y_true, y_pred = images(3, space=(24, 24))
    metric = metrics.ObjectScores(average=None, iou_threshold=0.2, iou_thresholds=(0.2, 0.5))
    for i in range(7):
        metric.update_state(y_true[i : i + 1], y_pred[i : i + 1])
    result = {name: float(value) for name, value in metric.result().items()}
    scores = metrics.object_scores(y_true, y_pred, iou_threshold=0.2)
    strict = metrics.object_scores(y_true, y_pred, iou_threshold=0.5)

    def counted(scores, column):
        return [scores[n][:, column].sum() for n in ("found", "invented", "missed")]

    for column, label in enumerate((1, 2)):
        tp, fp, fn = counted(scores, column)
        assert result[f"object_scores/precision/{label}"] == pytest.approx(tp / (tp + fp))
        assert result[f"object_scores/recall/{label}"] == pytest.approx(tp / (tp + fn))
        assert result[f"object_scores/f1/{label}"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
        ap = tp / (tp + fp + fn)
        assert result[f"object_scores/ap/{label}"] == pytest.approx(ap)
        tp, fp, fn = counted(strict, column)
        mean = (ap + tp / (tp + fp + fn)) / 2
        assert result[f"object_scores/mean_ap/{label}"] == pytest.approx(mean)
    macro = metrics.ObjectScores(iou_threshold=0.2)(y_true, y_pred)
    both = [result[f"object_scores/f1/{label}"] for label in (1, 2)]
    assert float(macro["object_scores/f1"]) == pytest.approx(np.mean(both))
    assert metrics.ObjectScores().result() == {}


@pytest.mark.parametrize(
    ("option", "value"), [("iou_threshold", 2), ("min_size", -1), ("connectivity", 4)]
)
def test_bad_option_is_refused(option, value):
    with pytest.raises(ValueError, match=option):
        metrics.ObjectScores(**{option: value})
    with pytest.raises(ValueError, match=option):
        metrics.object_scores(np.zeros((1, 3)), np.zeros((1, 3, 1)), **{option: value})


def test_missing_scipy_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match=r"pip install kerasloss\[metrics\]"):
        metrics.label_objects(np.ones((2, 2)))
