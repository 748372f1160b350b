"""The made-up micrographs: exact masks, the wanted share, a task that is possible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kerasloss_search.data import DataOptions, load
from kerasloss_search.synthetic import write_micrographs
from numpy.testing import assert_array_equal
from PIL import Image


def arrays(folder: Path) -> np.ndarray:
    """All pictures of a folder in the order of their names."""
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())])


@pytest.mark.parametrize("foreground", [0.01, 0.05, 0.3])
def test_mean_foreground_is_as_asked(tmp_path: Path, foreground: float) -> None:
    """The mean share is within a quarter of the request, and differs between images."""
    write_micrographs(tmp_path, count=12, size=64, foreground=foreground, seed=3)
    masks = arrays(tmp_path / "masks")
    assert masks.shape == (12, 64, 64)
    assert set(np.unique(masks)) == {0, 255}
    assert (masks > 0).mean() == pytest.approx(foreground, rel=0.25)
    assert np.ptp((masks > 0).mean(axis=(1, 2))) > 0.3 * foreground


def test_files_make_a_set_with_groups(tmp_path: Path) -> None:
    """The folders load without problems, four tiles to a group."""
    write_micrographs(tmp_path, count=14, size=32)
    options = DataOptions(tmp_path / "images", tmp_path / "masks", size=32, group=r"micrograph_\d+")
    data = load(options)
    assert data.names[:5] == (
        "micrograph_00_0",
        "micrograph_00_1",
        "micrograph_00_2",
        "micrograph_00_3",
        "micrograph_01_0",
    )
    assert len(data.names) == 14
    assert sorted(set(data.groups)) == [f"micrograph_{number:02d}" for number in range(4)]
    assert "--group" not in data.summary()


def test_seed_decides(tmp_path: Path) -> None:
    """Equal seeds write equal pictures, others do not."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_micrographs(tmp_path / name, count=4, size=32, seed=seed)
    assert_array_equal(arrays(tmp_path / "a" / "images"), arrays(tmp_path / "b" / "images"))
    assert np.any(arrays(tmp_path / "a" / "images") != arrays(tmp_path / "c" / "images"))


def test_bubbles_are_visible_but_not_by_threshold(tmp_path: Path) -> None:
    """Bubbles differ from their surroundings, yet no grey level separates them."""
    write_micrographs(tmp_path, count=16, size=128, foreground=0.1)
    images = arrays(tmp_path / "images").astype(float)
    inside = arrays(tmp_path / "masks") > 0
    contrasts = []
    for start in range(0, 16, 4):
        image, mask = images[start : start + 4], inside[start : start + 4]
        noise = image[~mask].std()
        contrasts.append(abs(image[mask].mean() - image[~mask].mean()) / noise)
        levels = np.linspace(image.min(), image.max(), 60)
        best = max(
            2 * (cut & mask).sum() / (cut.sum() + mask.sum())
            for level in levels
            for cut in (image > level, image < level)
        )
        assert best < 0.75
    assert np.mean(contrasts) > 0.2
    assert 30 < images.mean() < 220
    assert ((images == 0) | (images == 255)).mean() < 0.01


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"size": 8}, {"foreground": 0.0}, {"foreground": 0.7}, {"seed": -1}]
)
def test_arguments_out_of_range(tmp_path: Path, wrong: dict[str, float]) -> None:
    """A wrong argument is named and nothing is written."""
    with pytest.raises(ValueError, match="`write_micrographs`: .* Received: count="):
        write_micrographs(tmp_path / "x", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()
