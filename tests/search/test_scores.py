"""The score of a trial, on scenes small enough to count by hand."""

import numpy as np
import pytest
from kerasloss_search.scores import dice_per_image, paired_difference, to_labels


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


def test_paired_difference():
    theirs = np.linspace(0.2, 0.9, 30)
    rng = np.random.default_rng(0)
    mean, low, high = paired_difference(theirs + 0.05 + rng.normal(0, 0.01, 30), theirs)
    assert low < mean < high
    assert 0.03 < low and high < 0.07
    mean, low, high = paired_difference(theirs + rng.normal(0, 0.1, 30), theirs)
    assert low < 0 < high
