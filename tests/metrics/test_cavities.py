"""Swelling of shapes whose area and extent are known."""

import numpy as np
import pytest
from skimage import measure

from kerasloss import metrics

pytestmark = pytest.mark.once


def disc(radius, size=101, squeeze=1.0):
    rows, columns = np.mgrid[:size, :size] - size // 2
    return np.hypot(rows * squeeze, columns) <= radius


def test_formula():
    """Two squares of 4 and 9 pixels; 2 nm a pixel, 50 nm thick."""
    mask = np.zeros((20, 30))
    mask[2:4, 2:4] = mask[10:13, 20:23] = 1
    result = metrics.swelling(mask, 2.0, 50.0)
    diameters = [2 * 2.0 * np.sqrt(area / np.pi) for area in (4, 9)]
    volume, foil = sum(np.pi / 6 * d**3 for d in diameters), 20 * 30 * 2.0**2 * 50.0
    np.testing.assert_allclose(result.diameters_nm, diameters)
    assert result.percent == pytest.approx(100 * volume / (foil - volume))
    assert result.number_density == pytest.approx(2 / foil)


@pytest.mark.parametrize("diameter", ["area", "extent"])
@pytest.mark.parametrize("radius", [8, 20, 40])
def test_disc(diameter, radius):
    result = metrics.swelling(disc(radius), 0.5, 400.0, diameter=diameter)
    np.testing.assert_allclose(result.diameters_nm, [2 * radius * 0.5], atol=0.6 * 0.5)


def test_ellipse():
    """Half axes of 40 and 20 pixels: both definitions give the geometric mean of the axes."""
    mask = disc(40, squeeze=2.0)
    for diameter in ("area", "extent"):
        result = metrics.swelling(mask, 1.0, 1000.0, diameter=diameter)
        np.testing.assert_allclose(result.diameters_nm, [2 * np.sqrt(40 * 20)], rtol=0.02)


def test_extent_against_the_contours_of_scikit_image():
    rng = np.random.default_rng(0)
    for _ in range(10):
        rows, columns = rng.normal(30, 3, size=(2, 40)).round().astype(int)
        mask = np.zeros((61, 61), bool)
        mask[rows, columns] = True
        (kept,) = [o for o in measure.regionprops(measure.label(mask)) if o.label == 1]
        only = measure.label(mask) == kept.label
        contour = np.concatenate(measure.find_contours(only.astype(float), 0.5))
        radius = np.linalg.norm(contour - kept.centroid, axis=1)
        expected = 2 * np.sqrt(radius.min() * radius.max())
        result = metrics.swelling(only, 1.0, 1e4, diameter="extent")
        np.testing.assert_allclose(result.diameters_nm, [expected])


def test_one_pixel():
    mask = np.zeros((9, 9))
    mask[4, 4] = 1
    assert metrics.swelling(mask, 3.0, 100.0, diameter="extent").diameters_nm.tolist() == [3.0]


def test_swelling_is_cubic_in_the_diameter():
    small, large = (metrics.swelling(disc(r, 401), 1.0, 1e5).percent for r in (50, 100))
    assert large / small == pytest.approx(8, rel=0.01)


def test_no_cavities():
    result = metrics.swelling(np.zeros((5, 5)), 1.0, 10.0)
    assert (result.percent, result.number_density, len(result.diameters_nm)) == (0, 0, 0)
    assert metrics.swelling(np.zeros((5, 5)), 1.0, 10.0, diameter="extent").percent == 0


def test_what_counts_as_a_cavity():
    mask = np.zeros((9, 9))
    mask[1, 1] = mask[2, 2] = mask[6, 6] = 1
    for options, count in (({}, 2), ({"connectivity": 1}, 3), ({"min_size": 2}, 1)):
        assert len(metrics.swelling(mask, 1.0, 100.0, **options).diameters_nm) == count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((3, 3, 3)), 1.0, 1.0), "height, width"),
        ((np.ones((3, 3)), 0.0, 1.0), "nm_per_px"),
        ((np.ones((3, 3)), 1.0, -1.0), "thickness_nm"),
        ((np.ones((30, 30)), 1.0, 1.0), "less volume than the foil"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(ValueError, match=message):
        metrics.swelling(*arguments)
    with pytest.raises(ValueError, match="diameter"):
        metrics.swelling(np.ones((3, 3)), 1.0, 1.0, diameter="width")
