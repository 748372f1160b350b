"""What mask values mean, decided over a whole data set, and how masks are shrunk."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from kerasloss_search.masks import (
    Survey,
    binarise,
    binary_tops,
    label_problems,
    shrink_binary,
    shrink_labels,
    survey,
)
from numpy.testing import assert_allclose, assert_array_equal


def surveyed(*masks: np.ndarray, ignore: int | None = None, suffix: str = "png") -> list[Survey]:
    """Surveys of masks called 0.png, 1.png and so on."""
    found = []
    for number, mask in enumerate(masks):
        one, problem = survey(Path(f"{number}.{suffix}"), mask, ignore)
        assert problem is None
        assert one is not None
        found.append(one)
    return found


def filled(*values: float, dtype: str = "uint8") -> np.ndarray:
    """A mask with equally many pixels of every value."""
    return np.repeat(np.array(values, dtype=dtype), 4).reshape(-1, 2)


def test_survey_counts_values() -> None:
    """Values come in ascending order with their counts, ignored ones left out."""
    mask = np.array([[0, 7, 7], [255, 0, 7]], dtype=np.uint8)
    (one,) = surveyed(mask, ignore=255)
    assert_array_equal(one.values, [0, 7])
    assert_array_equal(one.counts, [2, 3])
    assert (one.depth, one.top) == ("byte", 7)


@pytest.mark.parametrize(
    ("masks", "tops"),
    [
        ([filled(0, 1)], {"byte": 1}),
        ([filled(0, 255)], {"byte": 255}),
        ([filled(0), filled(255), filled(0, 255)], {"byte": 255}),
        ([filled(0), filled(0, 128)], {"byte": 128}),
        ([filled(0, 60000, dtype="uint16")], {"deep": 60000}),
        ([filled(0, 1, dtype="float32")], {"deep": 1}),
        ([filled(0, 1, dtype="bool"), filled(0, 255)], {"bit": 1, "byte": 255}),
        ([filled(0), filled(0, dtype="bool")], {"byte": 1, "bit": 1}),
    ],
)
def test_range_of_binary_masks(masks: list[np.ndarray], tops: dict[str, float]) -> None:
    """The highest value of the whole data set is full foreground; 1-bit masks have their own."""
    assert binary_tops(surveyed(*masks)) == (tops, [])


def test_grey_edges_do_not_change_the_range() -> None:
    """Smoothed edges reach below 255, and the range stays 255."""
    edges = np.array([[0] * 12, [254] * 12, [90, 130, 170] + [254] * 9], dtype=np.uint8)
    assert binary_tops(surveyed(edges)) == ({"byte": 255}, [])


def test_jpeg_noise_is_accepted() -> None:
    """Values 0 to 8 are nothing and 247 to 255 are foreground, in an empty mask as well."""
    noise = np.arange(0, 9, dtype=np.uint8).reshape(3, 3)
    for masks in ([noise, 255 - noise], [noise, filled(0, 1)], [noise]):
        assert binary_tops(surveyed(*masks, suffix="jpg")) == ({"byte": 255}, [])
    assert_array_equal(binarise(noise.astype(np.float32), 255), np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ([filled(0, 1, 2)], "0.png and others: the masks hold the values 0, 1, 2; .*--classes 3"),
        ([filled(0, 1), filled(0, 3)], "the masks hold the values 0, 1, 3; .*--classes 4"),
        ([filled(0, 1, 2, dtype="uint16")], "--classes 3"),
        ([filled(0, 1, 255)], "0, 1, 255; leave out .* by --ignore-value 255"),
        ([filled(0, 1, 2, 255)], "--ignore-value 255, and for more .* pass --classes 3"),
        ([filled(0, 127, 255)], "number them 0, 1, 2 and pass --classes 3"),
        ([filled(0, 90, 100, 110, 255)], "0.png: does not look like .* pass --classes"),
        ([filled(0, 255), filled(0, 1)], "1.png: reaches only 1 where other masks reach 255"),
        ([filled(0, 127), filled(0, 255)], "0.png: reaches only 127 where other masks reach 255"),
        ([filled(0, 65535, dtype="uint16"), filled(0, 255, dtype="uint16")], "reaches only 255"),
    ],
)
def test_masks_that_are_not_binary(masks: list[np.ndarray], expected: str) -> None:
    """Labels, grey pictures and mixed scales are reported with the file and the remedy."""
    _, problems = binary_tops(surveyed(*masks))
    assert len(problems) == 1
    assert re.search(expected, problems[0])


def test_ignored_value_is_no_part_of_the_range() -> None:
    """With 255 ignored, 1 is full foreground."""
    assert binary_tops(surveyed(filled(0, 1, 255), ignore=255)) == ({"byte": 1}, [])


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (np.array([[0, np.nan]], dtype=np.float32), "not finite"),
        (np.array([[-1, 5]], dtype=np.int32), "negative value -1"),
        (np.arange(5000, dtype=np.int32).reshape(50, 100), "5000 different values"),
    ],
)
def test_values_no_mask_has(mask: np.ndarray, expected: str) -> None:
    """A picture that cannot be a mask is told by its values."""
    one, problem = survey(Path("x.tif"), mask, None)
    assert one is None
    assert problem is not None and problem.startswith("x.tif: ") and expected in problem


def test_labels_outside_the_classes() -> None:
    """Every label mask with a value that is no class is named, with the number to pass."""
    masks = surveyed(filled(0, 1, 2), filled(0, 3), filled(0, 1))
    assert label_problems(masks, 4, None) == []
    assert label_problems(masks, 3, None) == [
        "1.png: holds 3, outside 0 to 2; pass --classes 4 or number the classes 0 to 2; to leave "
        "these pixels out pass --ignore-value 3"
    ]
    assert label_problems(surveyed(filled(0, 3), ignore=3), 3, 3) == []
    (problem,) = label_problems(surveyed(filled(0, 3, 9), ignore=9), 3, 9)
    assert problem.endswith("pass --classes 4 or number the classes 0 to 2")
    (problem,) = label_problems(surveyed(filled(0, 0.5, dtype="float32")), 3, None)
    assert "holds 0.5, outside 0 to 2; number the classes 0 to 2" in problem
    (problem,) = label_problems(surveyed(filled(0, 4), suffix="jpg"), 3, None)
    assert "JPEG changes class numbers: save the mask as PNG" in problem


def test_shrinking_keeps_the_area_of_a_binary_mask() -> None:
    """Each new pixel is the mean of what it covers."""
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[:4, :3] = 255
    means = shrink_binary(mask, 4, None)
    assert_allclose(means[0], [255, 127.5, 0, 0])
    assert_array_equal(binarise(means, 255), [[1, 1, 0, 0]] * 2 + [[0] * 4] * 2)


@pytest.mark.parametrize("top", [1, 255, 60000])
def test_thin_line_survives_halving(top: int) -> None:
    """A pixel that is exactly half covered is foreground, at every range."""
    mask = np.zeros((64, 64), dtype=np.uint16)
    mask[:, 31] = top
    assert binarise(shrink_binary(mask, 32, None), top).sum() == 32


def test_ignored_pixels_stay_ignored() -> None:
    """Ignored pixels count neither as foreground nor as background."""
    mask = np.array([[255, 1, 0, 0], [255, 255, 0, 1]] * 2, dtype=np.uint8)
    labels = binarise(shrink_binary(mask, 2, 255), 1)
    assert_array_equal(labels, [[255, 0], [255, 0]])
    mask[:, 0] = 1
    assert_array_equal(binarise(shrink_binary(mask, 2, 255), 1), [[1, 0], [1, 0]])


def test_labels_are_never_mixed() -> None:
    """Between class 0 and class 2 there is no class 1."""
    mask = np.zeros((9, 9), dtype=np.uint16)
    mask[:, 5:] = 2
    mask[0] = 7
    labels = shrink_labels(mask, 4, 7)
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {0, 2, 255}
    assert_array_equal(shrink_labels(mask, 9, 7), np.where(mask == 7, 255, mask))
