"""Surface metrics against all pairs of points, scikit-image, and shapes worked out by hand."""

import numpy as np
import oracle_metrics as oracle
import pytest
from backend_tools import array
from metrics_cases import images
from scipy import ndimage
from skimage.metrics import hausdorff_distance

from kerasloss import metrics
from kerasloss.ops.outline import erode, outline

pytestmark = pytest.mark.once

SPACES = {(23,): (0.7,), (12, 11): (2.0, 0.5), (5, 6, 4): (3.0, 0.8, 1.1)}


def call(name, y_true, y_pred, **options):
    return array(getattr(metrics, name)(y_true, y_pred, **options))


def one(truth, predicted, name, **options):
    """The value of one image, given as two masks."""
    return call(name, truth[None], predicted[None, ..., None].astype("float32"), **options)[0, 0]


def check(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hausdorff_distance", {}),
        ("hausdorff_distance", {"percentile": 100.0}),
        ("hausdorff_distance", {"percentile": 62.5}),
        ("hausdorff_distance", {"percentile": 0.0}),
        ("average_surface_distance", {}),
        ("normalized_surface_distance", {"tolerance": 1.0}),
        ("normalized_surface_distance", {"tolerance": 2.4}),
    ],
)
def test_value(name, options, channels, space, spaced):
    if spaced:
        options = options | {"spacing": SPACES[space]}
    y_true, y_pred = images(channels, space=space)
    expected = oracle.per_image(
        lambda t, p, w: getattr(oracle, name)(t, p, w, **options), y_true, y_pred
    )
    check(call(name, y_true, y_pred, **options), expected)


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("width", [1, 2, 3])
def test_boundary_iou(space, width):
    y_true, y_pred = images(3, space=space)
    expected = oracle.per_image(lambda t, p, w: oracle.boundary_iou(t, p, w, width), y_true, y_pred)
    check(call("boundary_iou", y_true, y_pred, width=width), expected)


def test_width_as_a_fraction_of_the_diagonal():
    """0.02 of the diagonal of 300 x 400 is 10 pixels; 0.001 is half a one, so one is taken."""
    truth, predicted = np.zeros((2, 300, 400), bool)
    truth[50:200, 50:200] = predicted[60:200, 50:220] = True
    for fraction, pixels in ((0.02, 10), (0.0005, 1)):
        value = one(truth, predicted, "boundary_iou", width=fraction)
        check(value, oracle.boundary_iou(truth, predicted, None, pixels))


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_outline_and_erosion(space):
    rng = np.random.default_rng(0)
    masks = rng.random((4, *space)) < 0.8
    cross = ndimage.generate_binary_structure(len(space), 1)
    cube = np.ones((3,) * len(space))
    for mask, edge in zip(masks, array(outline(masks)), strict=True):
        np.testing.assert_array_equal(edge, mask & ~ndimage.binary_erosion(mask, cross))
        np.testing.assert_array_equal(edge, oracle.outline(mask))
    for steps in (0, 1, 2, 30):
        for mask, inner in zip(masks, array(erode(masks, steps)), strict=True):
            expected = ndimage.binary_erosion(mask, cube, iterations=steps) if steps else mask
            np.testing.assert_array_equal(inner, expected)


def test_scikit_image_agrees():
    y_true, y_pred = images(1, count=6, space=(20, 20), seed=5)
    for t, p in zip(y_true[4:], y_pred[4:, ..., 0] > 0.5, strict=True):
        edges = oracle.outline(t == 1), oracle.outline(p)
        check(one(t, p, "hausdorff_distance", percentile=100), hausdorff_distance(*edges))


def test_two_points_two_millimetres_apart():
    truth, predicted = np.zeros((2, 9, 9, 9), bool)
    truth[4, 4, 4] = predicted[4, 4, 6] = True
    for percentile in (0, 50, 95, 100):
        value = one(truth, predicted, "hausdorff_distance", percentile=percentile)
        assert value == 2
        check(one(truth, predicted, "hausdorff_distance", spacing=(5, 5, 0.25)), 0.5)
    assert one(truth, predicted, "average_surface_distance") == 2
    assert one(truth, predicted, "normalized_surface_distance", tolerance=1.9) == 0
    assert one(truth, predicted, "normalized_surface_distance", tolerance=2) == 1
    # 20 steps of 0.1 mm are 2 mm, whichever way they are rounded.
    predicted[:], truth = False, np.zeros((1, 30), bool)
    predicted = np.zeros((1, 30), bool)
    truth[0, 3] = predicted[0, 23] = True
    value = one(truth, predicted, "normalized_surface_distance", tolerance=2, spacing=0.1)
    assert value == 1


@pytest.mark.parametrize("shift", [1, 3])
def test_shifted_cube(shift):
    """Of a cube of side 10 shifted along an axis, front and back face move, the sides do not."""
    truth, predicted = np.zeros((2, 20, 20, 20), bool)
    truth[5:15, 5:15, 5:15] = predicted[5 + shift : 15 + shift, 5:15, 5:15] = True
    spacing = (2.0, 1.0, 1.0)
    value = one(truth, predicted, "hausdorff_distance", percentile=100, spacing=spacing)
    check(value, 2.0 * shift)
    assert one(truth, predicted, "normalized_surface_distance", tolerance=0) < 1
    check(one(truth, predicted, "normalized_surface_distance", tolerance=shift), 1)
    everything = one(truth, predicted, "average_surface_distance", spacing=spacing)
    check(everything, oracle.average_surface_distance(truth, predicted, None, spacing))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (3.0, 0.5)])
def test_concentric_discs(spacing):
    """The outlines of discs with radii of 20 and 15 units are 5 units apart everywhere."""
    rows, columns = np.mgrid[:61, :161]
    radius = np.hypot((rows - 30) * spacing[0], (columns - 80) * spacing[1])
    truth, predicted = radius <= 20, radius <= 15
    step = np.hypot(*spacing)  # an outline is off the circle by less than a pixel
    for name in ("hausdorff_distance", "average_surface_distance"):
        assert abs(one(truth, predicted, name, spacing=spacing) - 5) < step
    assert (
        one(truth, predicted, "normalized_surface_distance", tolerance=5 + step, spacing=spacing)
        == 1
    )
    assert (
        one(truth, predicted, "normalized_surface_distance", tolerance=5 - step, spacing=spacing)
        == 0
    )


def test_concentric_spheres():
    spacing = (2.0, 1.0, 1.0)
    z, y, x = np.mgrid[:21, :41, :41]
    radius = np.sqrt(((z - 10) * 2.0) ** 2 + (y - 20) ** 2 + (x - 20) ** 2)
    value = one(radius <= 16, radius <= 10, "average_surface_distance", spacing=spacing)
    assert abs(value - 6) < 1


def test_a_border_of_the_image_is_an_outline():
    """A mask that fills the image has the frame of the image for an outline."""
    truth, predicted = np.ones((5, 7), bool), np.zeros((5, 7), bool)
    predicted[2, 3] = True
    check(one(truth, predicted, "hausdorff_distance", percentile=100), np.hypot(2, 3))
    assert one(truth, truth, "hausdorff_distance") == 0


def test_the_larger_of_both_directions_counts():
    truth, predicted = np.zeros((2, 3, 40), bool)
    truth[1, 5] = predicted[1, 5] = True
    predicted[1, 30] = True  # 25 away from the target, whose own pixel is hit
    assert one(truth, predicted, "hausdorff_distance", percentile=100) == 25
    assert one(predicted, truth, "hausdorff_distance", percentile=100) == 25
    check(one(truth, predicted, "hausdorff_distance", percentile=95), 0.95 * 25)
    check(one(truth, predicted, "average_surface_distance"), 25 / 3)


def test_ignored_pixels_are_outside_of_both_masks():
    truth, predicted = np.zeros((2, 10, 10), bool)
    truth[2:5, 2:5] = predicted[2:5, 2:5] = True
    predicted[8, 8] = True
    assert one(truth, predicted, "hausdorff_distance", percentile=100) > 4
    target = np.where(predicted & ~truth, 255, truth)
    assert one(target, predicted, "hausdorff_distance", percentile=100, ignore_class=255) == 0
    weight = 1.0 - (predicted & ~truth)
    value = one(truth, predicted, "hausdorff_distance", sample_weight=weight[None])
    assert value == 0


@pytest.mark.parametrize(
    ("metric", "option", "value"),
    [
        ("HausdorffDistance", "percentile", 101),
        ("HausdorffDistance", "spacing", (1.0, -1.0)),
        ("AverageSurfaceDistance", "spacing", "2"),
        ("NormalizedSurfaceDistance", "tolerance", -1.0),
        ("BoundaryIoU", "width", 0),
        ("CLDiceScore", "iterations", 1.5),
    ],
)
def test_bad_option_is_refused(metric, option, value):
    metric = getattr(metrics, metric)
    with pytest.raises(ValueError, match=option):
        metric(**{option: value})
    y_true, y_pred = images(1)
    with pytest.raises(ValueError, match=option):
        getattr(metrics, metric().name)(y_true, y_pred, **{option: value})


def test_spacing_of_other_axes_is_refused():
    y_true, y_pred = images(1)
    with pytest.raises(ValueError, match="spacing.*2 space axes"):
        metrics.hausdorff_distance(y_true, y_pred, spacing=(1.0, 1.0, 1.0))
