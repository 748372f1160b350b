"""The arrays of a data set: saving, fingerprint, summary and advice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kerasloss_search.data import DataOptions, load
from kerasloss_search.dataset import Dataset
from kerasloss_search.synthetic import write_micrographs
from numpy.testing import assert_array_equal


@pytest.fixture
def options(tmp_path: Path) -> DataOptions:
    """Five made-up micrographs of four tiles."""
    write_micrographs(tmp_path, count=20, size=16, foreground=0.2)
    return DataOptions(tmp_path / "images", tmp_path / "masks", size=12)


def test_data_set_survives_a_file(options: DataOptions, tmp_path: Path) -> None:
    """A worker that reads the arrays has the same data set, without pickle."""
    data = load(replace(options, group=r"(.*)_\d"))
    data.save(tmp_path / "data.npz")
    again = Dataset.load_npz(tmp_path / "data.npz")
    assert again.fingerprint == data.fingerprint
    assert (again.names, again.groups, again.classes) == (data.names, data.groups, data.classes)
    assert again.summary() == data.summary()
    assert_array_equal(again.images, data.images)
    assert_array_equal(again.validation, data.validation)
    assert [path.name for path in tmp_path.iterdir() if "npz" in path.name] == ["data.npz"]


def test_fingerprint_tells_data_and_split(options: DataOptions) -> None:
    """Equal folders and seeds give one fingerprint; a pixel, a label or a seed change it."""
    first = load(options)
    assert len(first.fingerprint) == 64
    assert load(options).fingerprint == first.fingerprint
    masks, images = first.masks.copy(), first.images.copy()
    masks[0, 0, 0] ^= 1
    images[0, 0, 0, 0] ^= 1
    others = [
        load(replace(options, seed=1)),
        replace(first, masks=masks),
        replace(first, images=images),
    ]
    assert len({first.fingerprint, *(one.fingerprint for one in others)}) == 4


def test_summary_is_short_and_gives_advice(options: DataOptions, tmp_path: Path) -> None:
    """One line says what is there; a second one only where there is something to do."""
    data = load(replace(options, group=r"(.*)_\d"))
    assert data.summary() == (
        f"20 grey images at 12 px, 2 classes, {data.foreground:.2%} foreground; 12 train, "
        "4 validation, 4 test in 5 groups"
    )
    hint = load(options).summary().splitlines()
    assert len(hint) == 2
    assert hint[1].startswith(
        "Names such as 'micrograph_00' plus a number look like tiles of one picture"
    )
    assert hint[1].endswith("--group '(.+)[_-]'.")
    grouped = load(replace(options, group="(.+)[_-]"))
    assert grouped.groups == data.groups
    inverted = replace(data, masks=(1 - data.masks).astype(np.uint8))
    assert inverted.summary().endswith("are the masks inverted?")


@pytest.mark.parametrize(
    "names",
    [
        [f"image_{number:03d}" for number in range(10)],
        [f"image_{number}" for number in range(10)],
        ["a", "b_1", "c_1", "d_1", "e", "f", "g", "h", "i", "j"],
    ],
)
def test_numbered_images_are_not_called_tiles(options: DataOptions, names: list[str]) -> None:
    """A plain running number gives no advice."""
    data = replace(load(options), names=tuple(names), groups=tuple(names))
    assert "tiles" not in data.summary()


def test_long_series_are_not_called_tiles(options: DataOptions) -> None:
    """Three series of twenty frames are films, not pictures cut into tiles."""
    names = tuple(f"{letter}_{number}" for letter in "abc" for number in range(20))
    data = replace(load(options), names=names, groups=names)
    assert "tiles" not in data.summary()
