"""Made-up electron micrographs of bubbles with exact masks, for trying the search out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["write_micrographs"]

Field = npt.NDArray[np.float64]

_TILES = 4
_MAX_FOREGROUND = 0.6


def write_micrographs(
    folder: Path, *, count: int = 48, size: int = 128, foreground: float = 0.05, seed: int = 0
) -> None:
    """Write images of bubbles to `folder/images` and their masks to `folder/masks`.

    Every micrograph is cut into four tiles, `micrograph_00_0.png` to `micrograph_00_3.png`,
    that share focus, illumination and dose: tell the search so with
    `--group 'micrograph_\\d+'`. Bubbles overlap, their interior is brighter or darker
    depending on the focus, and a bright or dark fringe surrounds them as in Fresnel contrast.
    Uneven illumination, stains that are no bubbles, blur and shot noise make the task hard
    enough for losses to differ.

    Args:
        folder: Where to write; made if it does not exist.
        count: Number of images.
        size: Height and width in px, at least 16.
        foreground: Mean share of the pixels inside bubbles, above 0 and at most 0.6.
        seed: The same seed gives the same files.

    Raises:
        ValueError: If an argument is out of range.
    """
    if count < 1 or size < 16 or seed < 0 or not 0 < foreground <= _MAX_FOREGROUND:
        raise ValueError(
            "`write_micrographs`: `count` must be >= 1, `size` >= 16, `seed` >= 0 and "
            f"`foreground` above 0 and at most {_MAX_FOREGROUND}. Received: count={count}, "
            f"size={size}, foreground={foreground}, seed={seed}."
        )
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    micrographs = -(-count // _TILES)
    rng = np.random.default_rng(seed)
    # Micrographs differ in their share; the shares are spread evenly so that the mean is met.
    shares = foreground * rng.permutation(np.linspace(0.6, 1.4, micrographs))
    if micrographs == 1:
        shares[:] = foreground
    for number, share in enumerate(shares):
        image, mask = _micrograph(rng, 2 * size, float(share))
        for tile in range(min(_TILES, count - number * _TILES)):
            row, column = size * (tile // 2), size * (tile % 2)
            cut = (slice(row, row + size), slice(column, column + size))
            name = f"micrograph_{number:02d}_{tile}.png"
            Image.fromarray(image[cut]).save(folder / "images" / name)
            Image.fromarray(mask[cut]).save(folder / "masks" / name)


def _micrograph(
    rng: np.random.Generator, size: int, share: float
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """One square micrograph and its mask, both 8-bit."""
    inside, contrast = _bubbles(rng, size, share)
    scene = 0.5 + 0.08 * _smooth_noise(rng, size, size / 3)
    scene += 0.015 * _smooth_noise(rng, size, 3) + 0.02 * _smooth_noise(rng, size, 12)
    scene += _stains(rng, size) + contrast
    scene = _blur(scene, rng.uniform(0.7, 1.3))
    dose = rng.uniform(150, 450)
    scene = rng.poisson(np.clip(scene, 0.02, None) * dose) / dose
    scene = scene + rng.normal(0, 0.01, scene.shape)
    grey = np.clip(np.rint(255 * scene), 0, 255).astype(np.uint8)
    return grey, np.where(inside, np.uint8(255), np.uint8(0))


def _bubbles(
    rng: np.random.Generator, size: int, share: float
) -> tuple[npt.NDArray[np.bool_], Field]:
    """Discs up to the wanted share of the area, and what they add to the brightness."""
    inside = np.zeros((size, size), dtype=np.bool_)
    contrast = np.zeros((size, size))
    sign = rng.choice((-1.0, 1.0))
    amplitude = rng.uniform(0.08, 0.14)
    fringe = rng.uniform(1.0, 2.0)
    typical = size / 45
    wanted = share * size * size
    rows, columns = np.mgrid[:size, :size]
    covered = 0
    while covered < wanted - 4:
        radius = float(np.clip(rng.lognormal(np.log(typical), 0.45), 1.5, size / 9))
        # The last disc gets just the size that is missing.
        radius = min(radius, max(1.5, float(np.sqrt((wanted - covered) / np.pi))))
        row, column = rng.uniform(0, size, 2)
        reach = int(np.ceil(radius + 6 * fringe))
        cut = (
            slice(max(0, int(row) - reach), int(row) + reach + 1),
            slice(max(0, int(column) - reach), int(column) + reach + 1),
        )
        distance = np.hypot(rows[cut] - row, columns[cut] - column)
        inside[cut] |= distance <= radius
        contrast[cut] += sign * amplitude * _profile(distance, radius, fringe)
        covered = int(inside.sum())
    return inside, contrast


def _profile(distance: Field, radius: float, fringe: float) -> Field:
    """Brightness of a bubble by the distance from its centre, 1 where it is thickest."""
    thickness = np.sqrt(np.clip(1 - (distance / radius) ** 2, 0, None))
    rim = np.exp(-(((distance - radius) / fringe) ** 2))
    second = np.exp(-(((distance - radius - 2.2 * fringe) / fringe) ** 2))
    profile: Field = thickness - 0.8 * rim + 0.25 * second
    return profile


def _stains(rng: np.random.Generator, size: int) -> Field:
    """Soft blobs of either sign without a rim, which a model must learn to leave alone."""
    rows, columns = np.mgrid[:size, :size]
    stains = np.zeros((size, size))
    for _ in range(6):
        row, column = rng.uniform(0, size, 2)
        width = rng.uniform(size / 60, size / 15)
        square = (rows - row) ** 2 + (columns - column) ** 2
        stains += rng.uniform(-0.06, 0.06) * np.exp(-square / (2 * width**2))
    return stains


def _smooth_noise(rng: np.random.Generator, size: int, scale: float) -> Field:
    """Noise with structures of about `scale` px, mean 0 and standard deviation 1."""
    noise = _blur(rng.normal(size=(size, size)), scale / 2)
    scaled: Field = (noise - noise.mean()) / noise.std()
    return scaled


def _blur(values: Field, sigma: float) -> Field:
    """Gaussian blur by Fourier transform; opposite edges meet, which noise does not mind."""
    down = np.fft.fftfreq(values.shape[0])[:, None]
    across = np.fft.rfftfreq(values.shape[1])[None, :]
    response = np.exp(-2 * (np.pi * sigma) ** 2 * (down**2 + across**2))
    blurred: Field = np.fft.irfft2(np.fft.rfft2(values) * response, s=values.shape)
    return blurred
