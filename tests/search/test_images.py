"""Reading picture files of every mode, depth and orientation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from kerasloss_search.images import ImageError, read_image, read_mask_values
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

RAMP = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
COLOUR = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=-1)
ORIENTATION = 274


def write(path: Path, values: np.ndarray, **options: Any) -> Path:
    """Write an array with Pillow and return the path."""
    Image.fromarray(values).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_grey_bytes_are_divided_by_255(tmp_path: Path, suffix: str) -> None:
    """An 8-bit grey picture keeps its brightness in every lossless format."""
    image = read_image(write(tmp_path / f"x.{suffix}", RAMP))
    assert image.dtype == np.float32
    assert_allclose(image, RAMP[..., None] / 255, atol=1e-7)


def test_one_bit_becomes_zero_and_one(tmp_path: Path) -> None:
    """A 1-bit picture holds 0 and 1, not 0 and 1/255."""
    image = read_image(write(tmp_path / "x.png", RAMP > 100))
    assert_array_equal(image[..., 0], (RAMP > 100).astype(np.float32))


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    """Fully transparent pixels keep their colour, in LA as in RGBA."""
    alpha = np.where(RAMP > 100, 255, 0).astype(np.uint8)
    grey = read_image(write(tmp_path / "grey.png", np.stack([RAMP, alpha], axis=-1)))
    assert_allclose(grey, RAMP[..., None] / 255, atol=1e-7)
    rgba = np.concatenate([COLOUR, alpha[..., None]], axis=-1)
    assert_allclose(read_image(write(tmp_path / "rgba.png", rgba)), COLOUR / 255, atol=1e-7)


def test_palette_is_expanded(tmp_path: Path) -> None:
    """A palette picture shows its colours, with and without transparent entries."""
    index = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8))
    index.putpalette([10, 20, 30, 40, 50, 60, 255, 0, 0])
    wanted = np.array([[[10, 20, 30], [40, 50, 60]], [[255, 0, 0], [40, 50, 60]]]) / 255
    transparent: dict[str, Any] = {"transparency": bytes([0, 128, 255])}
    for name, options in (("a", {}), ("b", transparent)):
        index.save(tmp_path / f"{name}.png", **options)
        assert_allclose(read_image(tmp_path / f"{name}.png"), wanted, atol=1e-7)


def test_colour_stays_and_grey_colour_files_become_grey(tmp_path: Path) -> None:
    """Three channels are kept only where they differ."""
    assert_allclose(read_image(write(tmp_path / "c.png", COLOUR)), COLOUR / 255, atol=1e-7)
    grey = read_image(write(tmp_path / "g.png", np.repeat(RAMP[..., None], 3, axis=-1)))
    assert_allclose(grey, RAMP[..., None] / 255, atol=1e-7)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_become_rgb(tmp_path: Path, mode: str) -> None:
    """Pictures for print and from scanners have three channels between 0 and 1."""
    if mode == "YCbCr" and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("Pillow before 13 cannot read the YCbCr TIFF that it writes")
    Image.new(mode, (5, 4), (200, 90, 40, 0)[: len(Image.new(mode, (1, 1)).getbands())]).save(
        tmp_path / "x.tif"
    )
    image = read_image(tmp_path / "x.tif")
    assert image.shape == (4, 5, 3)
    assert 0 <= image.min() < image.max() <= 1


def test_cmyk_becomes_colour(tmp_path: Path) -> None:
    """Ink is the opposite of light."""
    cyan = Image.new("CMYK", (5, 4), (255, 0, 0, 0))
    cyan.save(tmp_path / "x.tif")
    image = read_image(tmp_path / "x.tif")
    assert image.shape == (4, 5, 3)
    assert_allclose(image[0, 0], (0, 1, 1), atol=0.02)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [("png", "uint16"), ("tif", "uint16"), ("tif", "int32"), ("tif", "float32")],
)
def test_deep_pictures_are_stretched_by_percentiles(
    tmp_path: Path, suffix: str, dtype: str
) -> None:
    """One hot pixel does not darken the rest of a deep picture."""
    values = np.linspace(1000, 3000, 32 * 32).reshape(32, 32).astype(dtype)
    values[0, 0] = 60000
    image = read_image(write(tmp_path / f"x.{suffix}", values))
    low, high = np.percentile(values.astype(float), (0.5, 99.5))
    assert_allclose(
        image[..., 0], np.clip((values.astype(float) - low) / (high - low), 0, 1), atol=1e-6
    )
    assert image[16, 16, 0] == pytest.approx(0.5, abs=0.05)


def test_constant_deep_picture_is_zero(tmp_path: Path) -> None:
    """A constant picture has no contrast to stretch."""
    image = read_image(write(tmp_path / "x.png", np.full((4, 5), 700, dtype=np.uint16)))
    assert_array_equal(image, np.zeros((4, 5, 1), dtype=np.float32))


def test_rare_deep_values_survive(tmp_path: Path) -> None:
    """Where the percentiles coincide, the extremes are used instead."""
    values = np.full((40, 40), 700, dtype=np.uint16)
    values[3, 4] = 900
    image = read_image(write(tmp_path / "x.tif", values))
    assert image[3, 4, 0] == 1
    assert image.sum() == 1


UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", sorted(UPRIGHT))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_stored_orientation_is_applied_once(tmp_path: Path, orientation: int, suffix: str) -> None:
    """Images and masks are turned upright, and a TIFF is not turned twice."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = write(tmp_path / f"x.{suffix}", RAMP, exif=exif)
    wanted = UPRIGHT[orientation](RAMP)
    assert_array_equal(read_mask_values(path), wanted)
    assert_allclose(read_image(path)[..., 0], wanted / 255, atol=1e-7)


def test_deep_picture_with_orientation(tmp_path: Path) -> None:
    """A 16-bit picture can be turned, too."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    values = RAMP.astype(np.uint16) * 100
    path = write(tmp_path / "x.png", values, exif=exif)
    assert_array_equal(read_mask_values(path), np.rot90(values, -1))


def test_several_pages_are_refused(tmp_path: Path) -> None:
    """A TIFF stack is no picture, and the message says what to do."""
    page = Image.fromarray(RAMP)
    page.save(tmp_path / "x.tif", save_all=True, append_images=[page, page])
    for read in (read_image, read_mask_values):
        with pytest.raises(ImageError, match=r"x\.tif: holds 3 pages; save each page"):
            read(tmp_path / "x.tif")


def test_phone_jpeg_with_preview_is_read(tmp_path: Path) -> None:
    """The further pages of a phone's JPEG are previews, not a stack."""
    page = Image.fromarray(np.full((16, 16), 200, dtype=np.uint8))
    page.save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=[page])
    assert_allclose(read_image(tmp_path / "x.jpg"), 200 / 255, atol=0.01)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_truncated_file_is_named(tmp_path: Path, suffix: str) -> None:
    """A file cut short is reported with its name, never half read."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    path = write(tmp_path / f"x.{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (read_image, read_mask_values):
        with pytest.raises(ImageError, match=rf"x\.{suffix}: .*save it again as PNG"):
            read(path)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    """Text or an empty file with a picture's name is reported."""
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"x\.png: .*save it again as PNG"):
        read_image(path)


def test_not_finite_values_are_refused(tmp_path: Path) -> None:
    """A float picture with NaN would poison the training."""
    values = np.ones((4, 5), dtype=np.float32)
    values[1, 1] = np.nan
    with pytest.raises(ImageError, match="not finite"):
        read_image(write(tmp_path / "x.tif", values))


def test_mask_values_are_raw(tmp_path: Path) -> None:
    """Masks are neither scaled nor cut, whatever their depth."""
    bits = read_mask_values(write(tmp_path / "bits.png", RAMP > 100))
    assert bits.dtype == np.bool_
    assert_array_equal(bits, RAMP > 100)
    deep = RAMP.astype(np.uint16) * 256
    assert_array_equal(read_mask_values(write(tmp_path / "deep.png", deep)), deep)
    real = RAMP.astype(np.float32) / 7
    assert_array_equal(read_mask_values(write(tmp_path / "real.tif", real)), real)


def test_mask_alpha_is_ignored(tmp_path: Path) -> None:
    """An opaque or transparent background changes nothing in a mask."""
    alpha = 255 - RAMP
    rgba = np.stack([RAMP, RAMP, RAMP, alpha], axis=-1)
    assert_array_equal(read_mask_values(write(tmp_path / "rgba.png", rgba)), RAMP)
    la = np.stack([RAMP, alpha], axis=-1)
    assert_array_equal(read_mask_values(write(tmp_path / "la.png", la)), RAMP)


def test_jpeg_noise_between_channels_is_accepted(tmp_path: Path) -> None:
    """A mask saved as colour JPEG, or converted from one, is still a mask."""
    noisy = np.full((8, 8, 3), 250, dtype=np.uint8)
    noisy[..., 1] -= 6
    assert_array_equal(read_mask_values(write(tmp_path / "x.png", noisy)), np.full((8, 8), 248))
    path = write(tmp_path / "x.jpg", np.repeat(noisy[..., :1], 3, axis=-1))
    assert_allclose(read_mask_values(path).astype(float), 250, atol=3)


@pytest.mark.parametrize("colours", [((255, 0, 0), (0, 0, 0)), ((1, 0, 0), (0, 1, 0))])
def test_coloured_masks_are_refused(tmp_path: Path, colours: tuple[object, ...]) -> None:
    """Colours, and label numbers that differ by only 1 between channels, are no grey mask."""
    values = np.array([colours, colours], dtype=np.uint8)
    with pytest.raises(ImageError, match="coloured mask; save it with one channel"):
        read_mask_values(write(tmp_path / "x.png", values))


def test_palette_mask_keeps_its_index(tmp_path: Path) -> None:
    """Label masks with a palette hold class numbers, not the colours that are shown."""
    index = np.array([[0, 1], [2, 1]], dtype=np.uint8)
    picture = Image.fromarray(index)
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    picture.save(tmp_path / "x.png")
    assert_array_equal(read_mask_values(tmp_path / "x.png"), index)
    assert_array_equal(read_mask_values(tmp_path / "x.png", indexed=False), index)


def test_grey_palette_of_a_binary_mask_is_what_a_viewer_shows(tmp_path: Path) -> None:
    """A palette that lists white first does not invert a binary mask."""
    picture = Image.fromarray(np.array([[0, 1]], dtype=np.uint8))
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save(tmp_path / "x.png")
    assert_array_equal(read_mask_values(tmp_path / "x.png"), [[0, 1]])
    assert_array_equal(read_mask_values(tmp_path / "x.png", indexed=False), [[255, 0]])


def test_a_picture_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with its size; up to there Pillow's warning of an attack is left out."""
    large = write(tmp_path / "large.png", np.zeros((1500, 1400), np.uint8))
    fits = write(tmp_path / "fits.png", np.zeros((1500, 1300), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6)
    for read in (read_image, read_mask_values):
        assert read(fits).shape[:2] == (1500, 1300)
        with pytest.raises(ImageError) as problem:
            read(large)
        assert str(problem.value) == (
            f"{large}: has 1400 x 1500 px, more than 2 million; cut it into tiles or shrink it"
        )
    assert Image.MAX_IMAGE_PIXELS == 10**6
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read_image(large).shape[:2] == (1500, 1400)
