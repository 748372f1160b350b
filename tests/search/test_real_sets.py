"""Real micrographs, scans and photographs load as their users would expect.

The sets are looked for in the folder `KERASLOSS_DATA`, else in `../shared/data` beside the
repository; a test whose set is absent is skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from kerasloss_search.data import DataError, DataOptions, Dataset, load
from PIL import Image

ROOT = Path(
    os.environ.get("KERASLOSS_DATA")
    or Path(__file__).resolve().parents[2].parent / "shared" / "data"
)


def options(name: str, **more: object) -> DataOptions:
    """Options for one set, or a skip."""
    if not (ROOT / name).is_dir():
        pytest.skip(f"the data set {name} is absent")
    places = {"images": ROOT / name / "images", "masks": ROOT / name / "masks", "size": 64}
    return DataOptions(**{**places, **more})  # type: ignore[arg-type]


def check_parts(data: Dataset) -> None:
    """All images are in one part, and no group is in two."""
    parts = (data.train, data.validation, data.test)
    assert sorted(np.concatenate(parts)) == list(range(len(data.names)))
    groups = [{data.groups[place] for place in part} for part in parts]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    images = data.pixels(data.train)
    assert images.min() >= 0 and images.max() <= 1


def test_helium_bubbles_are_split_by_micrograph() -> None:
    """Tiles of one micrograph never meet in two parts, and without groups there is a hint."""
    data = load(options("he_bubbles", group=r"(.*)_\d+$"))
    check_parts(data)
    assert data.images.shape == (108, 64, 64, 1)
    assert len(set(data.groups)) == 42
    assert data.foreground == pytest.approx(0.17, abs=0.015)
    assert abs(len(data.train) - 65) <= 3
    assert "tiles of one picture" in load(options("he_bubbles")).summary()


def test_ultrasound_of_many_sizes() -> None:
    """Different sizes, two colour files and six empty masks are all right."""
    data = load(options("busi"))
    check_parts(data)
    assert data.images.shape == (82, 64, 64, 3)
    assert data.foreground == pytest.approx(0.068, abs=0.005)
    assert (data.masks.reshape(82, -1).max(axis=1) == 0).sum() == 6


def test_ultrasound_as_it_is_downloaded() -> None:
    """Brackets in names, several masks an image, 1-bit and RGBA masks."""
    folder = ROOT / "busi_raw" / "Dataset_BUSI_with_GT"
    data = load(
        options("busi_raw", images=folder, masks=None, mask_pattern="{stem}_mask*", size=128)
    )
    check_parts(data)
    assert len(data.names) == 15
    assert "benign/benign (25)" in data.names
    for name, mask in zip(data.names, data.masks, strict=True):
        files = sorted(folder.glob(f"{name}_mask*.png".replace("[", "[[]")))
        parts = [np.asarray(Image.open(path).convert("L")) > 127 for path in files]
        assert mask.mean() == pytest.approx(np.any(parts, axis=0).mean(), abs=0.004), name
        assert (mask.max() == 0) == name.startswith("normal/")


def test_masks_saved_as_jpeg() -> None:
    """Noise from 0 to 8 is background."""
    chosen = options("kvasir_jpegmask")
    data = load(chosen)
    check_parts(data)
    assert data.foreground == pytest.approx(0.19, abs=0.005)
    shares = [
        (np.asarray(Image.open(path).convert("L")) > 127).mean()
        for path in sorted((chosen.masks or Path()).iterdir())
    ]
    assert data.masks.mean(axis=(1, 2)) == pytest.approx(shares, abs=0.005)


def test_masks_with_grey_edges() -> None:
    """Half of the range cuts a soft edge; any value above 0 would add 15 % of area."""
    chosen = options("dsb2018_96", size=96)
    data = load(chosen)
    check_parts(data)
    stored = np.stack(
        [np.asarray(Image.open(path)) for path in sorted((chosen.masks or Path()).iterdir())]
    )
    assert np.array_equal(data.masks, stored >= 128)
    assert (stored > 0).mean() > 1.1 * data.masks.mean()


def test_three_classes_in_tiff() -> None:
    """Label masks need the number of classes, and the error says so."""
    with pytest.raises(DataError, match="0, 1, 2; for label masks pass --classes 3"):
        load(options("pt_stem"))
    data = load(options("pt_stem", classes=3, size=512))
    check_parts(data)
    assert set(np.unique(data.masks)) == {0, 1, 2}
    assert (data.masks == 2).mean() == pytest.approx(0.003, abs=0.002)


def test_street_scenes_with_an_ignored_class() -> None:
    """Eleven classes, of which two are rare; the twelfth number is left out."""
    data = load(options("camvid", classes=11, ignore_value=11))
    check_parts(data)
    assert set(np.unique(data.masks)) == {*range(11), 255}
    for part in (data.train, data.validation):
        assert set(np.unique(data.masks[part])) == {*range(11), 255}
    with pytest.raises(DataError, match="39 problems .*\n.*--ignore-value 11"):
        load(options("camvid", classes=11))


def test_thin_cracks_keep_their_area() -> None:
    """Thin objects keep most of their area at a quarter of the size."""
    data = load(options("crackforest", size=128))
    check_parts(data)
    assert data.foreground == pytest.approx(0.016, abs=0.003)


def test_volumes_are_no_pictures() -> None:
    """A folder of NIfTI volumes is told to hold no images."""
    with pytest.raises(DataError, match=r"holds no images \(\.bmp, "):
        load(options("hippocampus3d"))
