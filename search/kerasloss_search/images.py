"""Read one picture file into an array, whatever its format, mode or depth."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["SUFFIXES", "ImageError", "is_lossy", "read_image", "read_mask_values"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
"""File endings (lower case) that count as pictures."""

# JPEG stores colour at half resolution, so a grey picture saved as colour comes back with
# channels that differ by a few grey levels. Real colour differs by much more.
_CHANNEL_NOISE = 16

# Anything else (CMYK, YCbCr, LAB, …) is turned into RGB at once; deep modes stay as they are.
_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA"})


# Pillow's limit is a global of its module, and images are read by several threads.
_OPENING = threading.Lock()


class ImageError(Exception):
    """A picture that cannot be used: one line with the file, the cause and the remedy."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


def read_image(path: Path) -> npt.NDArray[np.float32]:
    """Read a picture as grey or colour values between 0 and 1.

    8-bit values are divided by 255. Deeper ones have no agreed white (a 12-bit camera fills a
    sixteenth of a 16-bit file), so they are stretched between the 0.5 and the 99.5 percentile
    of the picture; a constant picture becomes 0. Alpha is dropped, a palette is expanded, and
    the orientation stored by a camera is applied. Colour files whose three channels are equal
    are grey.

    Args:
        path: A PNG, JPEG, TIFF or BMP file with one page.

    Returns:
        A float32 array of shape (height, width, 1 or 3).

    Raises:
        ImageError: If the file cannot be read, has several pages or holds no finite values.
    """
    picture = _open(path)
    if _is_deep(picture):
        return _stretch(np.asarray(picture, dtype=np.float64), path)[..., None]
    if picture.mode == "1":
        return np.asarray(picture, dtype=np.float32)[..., None]
    if picture.mode in ("L", "LA", "La"):
        values = np.asarray(picture.getchannel(0))[..., None]
    else:
        values = _rgb(picture)
        if np.array_equal(values[..., 0], values[..., 1]) and np.array_equal(
            values[..., 0], values[..., 2]
        ):
            values = values[..., :1]
    return values.astype(np.float32) / np.float32(255)


def read_mask_values(path: Path, *, indexed: bool = True) -> npt.NDArray[np.generic]:
    """Read a mask as the raw numbers that are stored in it.

    What the numbers mean is not decided here, because one mask cannot tell: an empty mask
    looks the same whether 1 or 255 means foreground.

    Args:
        path: A PNG, JPEG, TIFF or BMP file with one page.
        indexed: How to read a palette file: its index numbers (label masks), or the grey
            levels that a viewer shows. A palette with real colours always gives its index.

    Returns:
        A 2D array: bool for a 1-bit file, otherwise the integer or float type of the file.

    Raises:
        ImageError: If the file cannot be read, has several pages, or is coloured.
    """
    picture = _open(path)
    if picture.mode in ("P", "PA"):
        return _palette_values(picture, indexed)
    if picture.mode == "1" or picture.mode == "L" or _is_deep(picture):
        return _array(picture)
    if picture.mode in ("LA", "La"):
        return _array(picture.getchannel(0))
    values = _rgb(picture).astype(np.int16)
    spread = int(np.max(values.max(axis=-1) - values.min(axis=-1), initial=0))
    if spread == 0:
        return values[..., 0].astype(np.uint8)
    # Small numbers are labels, where a difference of 1 between channels is another class.
    noise = _CHANNEL_NOISE if picture.format == "JPEG" or int(values.max()) >= 128 else 0
    if spread > noise:
        raise ImageError(
            path, "is a coloured mask; save it with one channel that holds the class numbers"
        )
    mean: npt.NDArray[np.uint8] = np.rint(values.mean(axis=-1)).astype(np.uint8)
    return mean


def is_lossy(path: Path) -> bool:
    """Whether the format of a file changes values when it is saved."""
    return path.suffix.lower() in (".jpg", ".jpeg")


def _open(path: Path) -> Image.Image:
    """Decode the file completely, with its stored orientation applied."""
    try:
        # Not by name: Pillow then maps the file and scrambles an uncompressed TIFF that is turned.
        with path.open("rb") as file, _opened(file, path) as picture:
            # A phone's JPEG (MPO) carries previews as further pages; the first is the picture.
            pages = 1 if picture.format == "MPO" else int(getattr(picture, "n_frames", 1))
            if pages == 1:
                # Loading first: Pillow already turns a TIFF here and then forgets the tag,
                # so that the next line cannot turn it twice.
                picture.load()
                kind = "JPEG" if picture.format == "MPO" else picture.format
                upright = ImageOps.exif_transpose(picture)
                if upright.mode not in _MODES and not _is_deep(upright):
                    upright = upright.convert("RGB")
                upright.format = kind
                return upright
    except UnidentifiedImageError:
        raise ImageError(path, "is not a picture or is damaged; save it again as PNG") from None
    except ImageError:
        raise
    # Pillow's decoders raise almost any exception on a damaged file, and one such file must
    # not hide the problems of the others.
    except Exception as error:
        said = getattr(error, "strerror", None) or str(error)
        reason = " ".join(said.split()) or type(error).__name__
        raise ImageError(path, f"cannot be read ({reason}); save it again as PNG") from error
    raise ImageError(path, f"holds {pages} pages; save each page as a file of its own")


def _opened(file: IO[bytes], path: Path) -> Image.Image:
    """Reads the head of a file; refuses what Pillow refuses, and says how large it is.

    Pillow warns of an attack from half of that size on, which a micrograph may well have.
    """
    with _OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            picture = Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    width, height = picture.size
    if limit is not None and width * height > 2 * limit:
        raise ImageError(
            path,
            f"has {width} x {height} px, more than {2 * limit / 1e6:.3g} million; cut it into "
            "tiles or shrink it",
        )
    return picture


def _is_deep(picture: Image.Image) -> bool:
    return picture.mode in ("I", "F") or picture.mode.startswith("I;")


def _array(picture: Image.Image) -> npt.NDArray[np.generic]:
    values: npt.NDArray[np.generic] = np.asarray(picture)
    return values


def _rgb(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """The three colour channels, alpha dropped and not blended in."""
    # A palette with transparency must pass through RGBA, or Pillow warns.
    colours = picture.convert("RGBA") if picture.mode in ("P", "PA") else picture
    return np.asarray(colours, dtype=np.uint8)[..., :3]


def _palette_values(picture: Image.Image, indexed: bool) -> npt.NDArray[np.generic]:
    index: npt.NDArray[np.uint8] = np.asarray(picture.getchannel(0), dtype=np.uint8)
    if indexed:
        return index
    colours = np.zeros((256, 3), dtype=np.uint8)
    stored = np.asarray(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    colours[: len(stored)] = stored
    used = colours[np.unique(index)]
    if np.any(used != used[:, :1]):
        return index
    grey: npt.NDArray[np.uint8] = colours[index, 0]
    return grey


def _stretch(values: npt.NDArray[np.float64], path: Path) -> npt.NDArray[np.float32]:
    if not np.all(np.isfinite(values)):
        raise ImageError(path, "holds values that are not finite; replace them and save it again")
    low, high = np.percentile(values, (0.5, 99.5))
    if high <= low:
        # Fewer than one pixel in 200 differs from the rest: those pixels are all there is.
        low, high = values.min(), values.max()
    if high <= low:
        return np.zeros(values.shape, dtype=np.float32)
    stretched: npt.NDArray[np.float64] = np.clip((values - low) / (high - low), 0, 1)
    return stretched.astype(np.float32)
