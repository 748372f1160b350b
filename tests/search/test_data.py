"""From folders to a checked data set: every kind of problem, and what comes out without one."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kerasloss_search.data import DataError, DataOptions, load, scan
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image


def picture(root: Path, name: str, values: np.ndarray, **options: Any) -> None:
    """Write one picture, making its folder."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def square(number: int, value: int = 255, size: int = 24) -> np.ndarray:
    """A mask with one square whose place depends on the number."""
    mask = np.zeros((size, size), dtype=np.uint8)
    mask[number % 8 : number % 8 + 10, 4:14] = value
    return mask


def grey(number: int, size: int = 24) -> np.ndarray:
    """A noisy grey image."""
    return np.random.default_rng(number).integers(0, 256, (size, size), dtype=np.uint8)


@pytest.fixture
def options(tmp_path: Path) -> DataOptions:
    """Ten images with sound binary masks."""
    for number in range(10):
        picture(tmp_path, f"images/p{number // 2}_{number % 2}.png", grey(number))
        picture(tmp_path, f"masks/p{number // 2}_{number % 2}.png", square(number))
    return DataOptions(tmp_path / "images", tmp_path / "masks", size=12)


def problems_of(options: DataOptions) -> list[str]:
    """Problems with paths relative to the data folder; `scan` and `load` must agree."""
    with pytest.raises(DataError) as scanned:
        scan(options)
    with pytest.raises(DataError) as loaded:
        load(options)
    assert scanned.value.problems == loaded.value.problems
    return [one.replace(f"{options.images.parent}/", "") for one in loaded.value.problems]


def test_a_sound_set_is_loaded(options: DataOptions) -> None:
    """Images, labels, names and parts have the promised form."""
    steps: list[tuple[int, int]] = []
    data = load(options, progress=lambda done, total: steps.append((done, total)))
    assert data.images.shape == (10, 12, 12, 1) and data.images.dtype == np.uint16
    assert data.masks.shape == (10, 12, 12) and data.masks.dtype == np.uint8
    images = data.pixels(np.arange(10))
    assert images.dtype == np.float32 and images.min() >= 0 and 0.5 < images.max() <= 1
    assert data.names == tuple(sample.name for sample in scan(options))
    assert data.names[:3] == ("p0_0", "p0_1", "p1_0")
    assert steps == [(done, 10) for done in range(1, 11)]
    assert [len(part) for part in (data.train, data.validation, data.test)] == [6, 2, 2]
    assert data.foreground == pytest.approx(100 / 24**2, rel=0.1)
    wanted = np.asarray(Image.fromarray(square(3)).resize((12, 12), Image.Resampling.BOX)) >= 127.5
    assert_array_equal(data.masks[3], wanted)
    mean = Image.fromarray(grey(3).astype(np.float32)).resize((12, 12), Image.Resampling.BILINEAR)
    assert_allclose(images[3, ..., 0], np.asarray(mean) / 255, atol=1e-5)


def test_groups_are_kept_together(options: DataOptions) -> None:
    """The group of an image comes from its name, and no group is divided."""
    data = load(replace(options, group=r"(.*)_\d$"))
    assert data.groups == tuple(name[:2] for name in data.names)
    parts = [{data.groups[place] for place in part} for part in (data.train, data.validation)]
    assert not parts[0] & parts[1]
    assert [len(part) for part in (data.train, data.validation, data.test)] == [6, 2, 2]


def test_one_colour_image_makes_the_set_colour(options: DataOptions) -> None:
    """Grey images are repeated in three channels when any image has real colour."""
    colour = np.stack([grey(0), grey(1), grey(2)], axis=-1)
    picture(options.images, "p0_0.png", colour)
    data = load(options)
    assert data.images.shape[-1] == 3
    assert np.ptp(data.pixels(np.array([0])), axis=-1).max() > 0.1
    assert np.ptp(data.images[1:], axis=-1).max() == 0


def test_empty_and_full_masks_are_read_by_the_whole_set(options: DataOptions) -> None:
    """A mask of zeros is empty and a mask of 255 is full, whatever they say alone."""
    picture(options.masks or Path(), "p0_0.png", np.zeros((24, 24), dtype=np.uint8))
    picture(options.masks or Path(), "p0_1.png", np.full((24, 24), 255, dtype=np.uint8))
    data = load(options)
    assert data.masks[0].max() == 0
    assert data.masks[1].min() == 1


def test_masks_of_mixed_depth(options: DataOptions) -> None:
    """A 1-bit mask among 8-bit ones keeps its foreground."""
    before = load(options).masks
    picture(options.masks or Path(), "p0_0.png", square(0) > 0)
    assert_array_equal(load(options).masks, before)


def test_several_binary_masks_are_united(tmp_path: Path) -> None:
    """A pattern finds all masks of an image, and their objects are joined."""
    for number in range(3):
        stem = f"set/x ({number})"
        picture(tmp_path, f"{stem}.png", grey(number))
        picture(tmp_path, f"{stem}_mask.png", square(0))
        picture(tmp_path, f"{stem}_mask_1.png", square(0).T)
    options = DataOptions(tmp_path, mask_pattern="{stem}_mask*", size=24)
    data = load(options)
    assert data.names == ("set/x (0)", "set/x (1)", "set/x (2)")
    assert_array_equal(data.masks[0], (square(0) | square(0).T) // 255)
    with pytest.raises(DataError, match="2 label masks .*keep one of them"):
        load(replace(options, classes=3))


def test_foreground_outweighs_ignored_in_a_union(tmp_path: Path) -> None:
    """A pixel unknown to one mask and foreground in another is foreground."""
    for number in range(3):
        picture(tmp_path, f"{number}.png", grey(number))
        picture(tmp_path, f"{number}_a.png", square(0, 1))
        unknown = np.full((24, 24), 9, dtype=np.uint8)
        unknown[:2] = 0
        picture(tmp_path, f"{number}_b.png", unknown)
    data = load(DataOptions(tmp_path, mask_pattern="{stem}_?.*", size=24, ignore_value=9))
    wanted = np.where(unknown == 9, 255, 0)
    assert_array_equal(data.masks[0], np.where(square(0) > 0, 1, wanted))
    assert data.foreground == pytest.approx(100 / (48 + 100 - 20))


def test_label_masks(options: DataOptions) -> None:
    """Class numbers stay, the ignored value becomes 255."""
    for number in range(10):
        mask = square(number, 1)
        mask[0, 0], mask[23] = 2, 11
        picture(options.masks or Path(), f"p{number // 2}_{number % 2}.png", mask)
    data = load(replace(options, classes=3, ignore_value=11, size=24))
    assert_array_equal(np.unique(data.masks), [0, 1, 2, 255])
    assert_array_equal(data.masks[3] == 255, mask == 11)
    assert data.classes == 3
    assert data.foreground == pytest.approx(101 / (24 * 23))


def test_all_problems_at_once(options: DataOptions) -> None:
    """Problems of pairing, files, sizes, values and groups are found in one go."""
    images, masks = options.images, options.masks or Path()
    (masks / "p0_0.png").unlink()
    picture(masks, "lost.png", square(0))
    path = images / "p0_1.png"
    path.write_bytes(path.read_bytes()[:200])
    (masks / "p1_0.png").write_bytes(b"text")
    picture(masks, "p1_1.png", square(0, size=20))
    picture(masks, "p2_0.png", np.stack([square(0), square(1), square(2)], axis=-1))
    picture(masks, "p2_1.png", np.linspace(60, 190, 576).astype(np.uint8).reshape(24, 24))
    picture(images, "odd.png", grey(0))
    picture(masks, "odd.png", square(0))
    found = problems_of(replace(options, group=r"p(\d)_", size=0))
    expected = [
        "--size 0: must be at least 1 px",
        "images/p0_0.png: has no mask masks/p0_0.*",
        "masks/lost.png: has no image images/lost.*",
        "odd: --group 'p(\\\\d)_' does not match",
        "images/p0_1.png: cannot be read",
        "masks/p1_0.png: is not a picture",
        "masks/p1_1.png: is 20 x 20 px but its image p1_1.png is 24 x 24 px",
        "masks/p2_0.png: is a coloured mask",
        "masks/p2_1.png: does not look like a binary mask",
    ]
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)
        assert ";" in line and "\n" not in line


def test_mask_with_impossible_values(options: DataOptions) -> None:
    """A float mask with NaN is one problem, not a crash."""
    mask = square(0).astype(np.float32)
    mask[0, 0] = np.nan
    ((options.masks or Path()) / "p0_0.png").unlink()
    picture(options.masks or Path(), "p0_0.tif", mask)
    assert problems_of(options) == [
        "masks/p0_0.tif: holds values that are not finite; save the mask as 0 and 255"
    ]


def test_turned_mask_is_told_from_a_wrong_size(options: DataOptions) -> None:
    """Swapped sides point to the orientation tag of a camera."""
    wide = np.zeros((24, 30), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    picture(options.images, "p0_0.png", wide, exif=exif)
    picture(options.masks or Path(), "p0_0.png", wide)
    (problem,) = problems_of(options)
    assert "is 30 x 24 px but its image p0_0.png is 24 x 30 px" in problem
    assert "orientation tag; save both upright" in problem


def test_three_labels_without_classes(options: DataOptions) -> None:
    """Class numbers given as a binary set name the option that is missing."""
    mask = square(0, 1)
    mask[20:] = 2
    picture(options.masks or Path(), "p0_0.png", mask)
    for number in range(1, 10):
        picture(options.masks or Path(), f"p{number // 2}_{number % 2}.png", square(number, 1))
    (problem,) = problems_of(options)
    assert "hold the values 0, 1, 2; for label masks pass --classes 3" in problem


def test_labels_outside(options: DataOptions) -> None:
    """Every label mask with an impossible value is listed."""
    found = problems_of(replace(options, classes=3))
    assert len(found) == 10
    assert found[0].startswith("masks/p0_0.png: holds 255, outside 0 to 2;")
    assert found[0].endswith("to leave these pixels out pass --ignore-value 255")


@pytest.mark.parametrize("classes", [2, 3])
def test_every_mask_empty(options: DataOptions, classes: int) -> None:
    """A set without any object cannot be learnt from."""
    for path in (options.masks or Path()).iterdir():
        picture(path.parent, path.name, np.zeros((24, 24), dtype=np.uint8))
    assert problems_of(replace(options, classes=classes)) == [
        "masks: every mask is empty; draw the objects in some"
    ]


def test_objects_too_small_for_the_size(options: DataOptions) -> None:
    """When resizing removes all objects, the remedy is another one."""
    for path in (options.masks or Path()).iterdir():
        mask = np.zeros((24, 24), dtype=np.uint8)
        mask[5, 5] = 255
        picture(path.parent, path.name, mask)
    with pytest.raises(DataError, match="no foreground is left at 12 px; raise --size"):
        load(options)
    picture(options.masks or Path(), "p0_0.png", square(0))
    data = load(options)
    assert data.vanished == 9
    assert "9 images lost all their foreground at this size: raise --size." in data.summary()


def test_too_few_images_and_groups(options: DataOptions) -> None:
    """Three parts need three images, and three groups."""
    found = problems_of(replace(options, group="^p"))
    assert len(found) == 1 and "puts all images into 1 groups ('p')" in found[0]
    for number in range(2, 10):
        name = f"p{number // 2}_{number % 2}.png"
        (options.images / name).unlink()
        ((options.masks or Path()) / name).unlink()
    found = problems_of(options)
    assert len(found) == 1 and found[0].startswith("2 images are too few")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"classes": 1}, "--classes 1: must be 2 to 255; correct it"),
        ({"validation": 0.0}, "--validation 0.0: must be between 0 and 1; correct it"),
        ({"test": 1.0}, "--test 1.0: must be between 0 and 1; correct it"),
        ({"test": 0.8}, "--validation and --test leave nothing to train on; lower them"),
        ({"seed": -1}, "--seed -1: must be 0 or more; correct it"),
        ({"group": "("}, "--group '(': is no regular expression"),
    ],
)
def test_options_out_of_range(options: DataOptions, change: dict[str, Any], expected: str) -> None:
    """A wrong option is a problem like any other."""
    found = problems_of(replace(options, **change))
    assert len(found) == 1 and found[0].startswith(expected)


def test_missing_folders(options: DataOptions) -> None:
    """A missing folder is the only thing that is said."""
    found = problems_of(replace(options, images=options.images / "none"))
    assert len(found) == 1 and found[0].endswith("none: is not a folder; correct --images")
    found = problems_of(replace(options, masks=options.images.parent / "none"))
    assert found == ["none: is not a folder; correct --masks"]


def test_error_shows_the_count_and_the_first_twenty() -> None:
    """A long list is cut with the number of what is left out, and stays complete inside."""
    error = DataError([f"{number}.png: is bad;\nremove it" for number in range(23)])
    lines = str(error).splitlines()
    assert lines[0] == "23 problems in the data:"
    assert lines[1] == "- 0.png: is bad;\\nremove it"
    assert (len(lines), lines[-1]) == (22, "and 3 more")
    assert str(DataError(["x"])) == "1 problem in the data:\n- x"
    assert pickle.loads(pickle.dumps(error)).problems == error.problems
