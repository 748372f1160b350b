"""Centre-line Dice of lines whose skeleton is known."""

import numpy as np
import pytest
from backend_tools import array

from kerasloss import metrics

pytestmark = pytest.mark.once


def score(truth, predicted, **options):
    value = metrics.cl_dice_score(
        truth[None], predicted[None, ..., None].astype("float32"), **options
    )
    return array(value)[0, 0]


def harmonic(precision, sensitivity):
    return 2 * precision * sensitivity / (precision + sensitivity)


def line(start, stop, rows=slice(5, 6), shape=(11, 40)):
    mask = np.zeros(shape, bool)
    mask[rows, start:stop] = True
    return mask


def test_a_gap_costs_what_is_missing():
    truth = line(0, 40)
    assert score(truth, truth) == 1
    gap = truth & ~line(10, 20)
    np.testing.assert_allclose(score(truth, gap), harmonic(1, 30 / 40), rtol=1e-6)
    np.testing.assert_allclose(score(gap, truth), harmonic(30 / 40, 1), rtol=1e-6)


def test_width_costs_nothing():
    """A line three pixels wide has the same centre; Dice would say one half."""
    truth, wide = line(0, 40), line(0, 40, slice(4, 7))
    assert score(truth, wide) == 1
    dice = array(metrics.dice_score(truth[None], wide[None, ..., None].astype("float32")))
    assert dice[0, 0] == 0.5


def test_a_line_beside_the_other_scores_nothing():
    assert score(line(0, 40), line(0, 40, slice(8, 9))) == 0


@pytest.mark.parametrize("wrong", [False, True])
def test_objects_too_wide_for_a_centre_line(wrong):
    truth = np.ones((11, 11), bool)
    predicted = truth.copy()
    predicted[0, 0] = not wrong
    # Nothing erodes a mask that fills the image.
    assert score(truth, predicted, iterations=0) == (0 if wrong else 1)


def test_volume():
    truth = np.zeros((5, 5, 20), bool)
    truth[2, 2, :] = True
    half = truth.copy()
    half[..., 10:] = False
    np.testing.assert_allclose(score(truth, half), harmonic(1, 0.5), rtol=1e-6)
