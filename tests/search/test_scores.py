"""The score of a trial, on scenes small enough to count by hand."""

import numpy as np
import pytest
from kerasloss_search.scores import SCORES, dice_per_image, to_labels


def scene(*rows: str) -> np.ndarray:
    return np.array(
        [[int(pixel) if pixel != "x" else 255 for pixel in row] for row in rows], "uint8"
    )


def test_dice_of_two_classes():
    truth = np.stack([scene("0110", "0110"), scene("0000", "0000"), scene("0000", "0001")])
    guess = np.stack([scene("0111", "0100"), scene("0000", "0000"), scene("0000", "0000")])
    # 3 of 4 found and 1 false: 2*3 / (4 + 4); nothing there and nothing claimed; missed.
    np.testing.assert_allclose(dice_per_image(truth, guess, 2), [0.75, 1.0, 0.0])


def test_an_invented_object_costs():
    assert dice_per_image(scene("0000")[None], scene("0001")[None], 2)[0] == 0.0


def test_classes_count_where_they_are_present_or_predicted():
    truth, guess = scene("0112", "0112")[None], scene("0110", "0110")[None]
    # Class 1: 1.0; class 2: missed, 0.0; class 3: neither there nor claimed, left out.
    assert dice_per_image(truth, guess, 4)[0] == pytest.approx(0.5)


def test_ignored_pixels_do_not_count():
    truth = scene("01xx")[None]
    np.testing.assert_allclose(dice_per_image(truth, scene("0111")[None], 2), 1.0)
    np.testing.assert_allclose(dice_per_image(truth, scene("0100")[None], 2), 1.0)


def test_labels_from_probabilities_and_logits():
    sigmoid = np.array([[[[0.4], [0.6]]]])
    assert to_labels(sigmoid).tolist() == [[[0, 1]]]
    assert to_labels(np.array([[[[-0.1], [0.1]]]]), from_logits=True).tolist() == [[[0, 1]]]
    assert to_labels(np.array([[[[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]]])).tolist() == [[[1, 0]]]


def values(name, truth, guess, classes=2):
    return SCORES[name].per_image(truth, guess, classes)


def square(top, left, side=4, shape=(16, 16), label=1):
    mask = np.zeros(shape, "uint8")
    mask[top : top + side, left : left + side] = label
    return mask


@pytest.mark.parametrize(
    ("name", "same", "missed"),
    [
        ("dice", 1.0, 0.0),
        ("iou", 1.0, 0.0),
        # A missed object is as far as two pixels of the image can be.
        ("hd95", 0.0, 16 * 2**0.5),
        ("nsd", 1.0, 0.0),
        ("object_f1", 1.0, 0.0),
    ],
)
def test_every_score_at_its_ends(name, same, missed):
    truth = np.stack([square(2, 3), square(2, 3), np.zeros((16, 16), "uint8")])
    guess = np.stack([square(2, 3), np.zeros((16, 16), "uint8"), np.zeros((16, 16), "uint8")])
    np.testing.assert_allclose(values(name, truth, guess), [same, missed, same], rtol=0.05)


def test_scores_of_a_shifted_square():
    truth, guess = square(2, 3)[None], square(2, 5)[None]
    assert values("iou", truth, guess)[0] == pytest.approx(8 / 24)
    assert values("hd95", truth, guess)[0] == pytest.approx(2.0, abs=0.1)
    assert 0.0 < values("nsd", truth, guess)[0] < 1.0
    # Less than half in common: no hit.
    assert values("object_f1", truth, guess)[0] == 0.0


@pytest.mark.parametrize("name", ["dice", "iou", "nsd", "object_f1"])
def test_a_class_that_an_image_lacks_does_not_count(name):
    truth = square(2, 3)[None]
    assert values(name, truth, np.zeros_like(truth), classes=4)[0] == 0.0


@pytest.mark.parametrize("name", ["iou", "hd95", "nsd", "object_f1"])
def test_ignored_pixels_count_in_no_score(name):
    truth = square(2, 3)[None]
    truth[0, 10:, :] = 255
    guess = square(2, 3)[None]
    guess[0, 12:14, 2:9] = 1
    assert values(name, truth, guess)[0] == SCORES[name].per_image(truth, truth % 255, 2)[0]
