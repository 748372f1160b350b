"""What the topology losses are for, and how they take pixels that do not count."""

import numpy as np
import pytest
from backend_tools import array

import kerasloss

LINE = np.zeros((1, 9, 15), "float32")
LINE[0, 3:6, 1:14] = 1


def prediction(mask):
    return np.where(mask, 0.95, 0.05)[..., None].astype("float32")


def test_gap_costs_more_than_the_same_error_along_the_edge():
    """Dice sees three lost pixels in both."""
    gap, edge = LINE.copy(), LINE.copy()
    gap[0, 3:6, 7] = 0
    edge[0, 3, 6:9] = 0
    lost = [array(kerasloss.cl_dice(LINE, prediction(mask), alpha=1.0)) for mask in (gap, edge)]
    dice = [array(kerasloss.dice(LINE, prediction(mask))) for mask in (gap, edge)]
    np.testing.assert_allclose(dice[0], dice[1], rtol=1e-5)
    assert lost[0] > 1.3 * lost[1]


def test_alpha_is_the_share_of_the_centre_lines():
    y_pred = prediction(np.roll(LINE, 1, axis=1))
    whole = [array(kerasloss.cl_dice(LINE, y_pred, alpha=alpha)) for alpha in (0.0, 0.25, 1.0)]
    np.testing.assert_allclose(whole[0], array(kerasloss.dice(LINE, y_pred)), rtol=1e-6)
    np.testing.assert_allclose(whole[1], 0.75 * whole[0] + 0.25 * whole[2], rtol=1e-6)


@pytest.mark.parametrize("by", ["sample_weight", "ignore_class"])
def test_ignored_rim_bounds_an_object_as_the_background_does(by):
    """As in data sets that leave the outline of every object out."""
    rim = np.zeros_like(LINE, bool)
    rim[0, [2, 6], :] = True
    options = {"sample_weight": np.where(rim, 0, 1)} if by == "sample_weight" else {}
    y_true = np.where(rim, 255, LINE) if by == "ignore_class" else np.where(rim, 1, LINE)
    if by == "ignore_class":
        options = {"ignore_class": 255}
    y_pred = prediction(np.roll(LINE, 2, axis=2))
    free = array(kerasloss.cl_dice(LINE, np.where(rim[..., None], 0, y_pred)))
    actual = array(kerasloss.cl_dice(y_true, y_pred, **options))
    np.testing.assert_allclose(actual, free, rtol=1e-5)


@pytest.mark.parametrize(
    "options", [{"alpha": 1.1}, {"alpha": -0.1}, {"alpha": "1"}, {"iterations": -1},
                {"iterations": 2.5}, {"iterations": True}], ids=str
)  # fmt: skip
def test_bad_options_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        kerasloss.CLDice(**options)
    with pytest.raises(ValueError, match=name):
        kerasloss.cl_dice(LINE, prediction(LINE), **options)
