"""The arrays of a split data set, and how they travel to other processes."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["IGNORED", "Dataset", "as_float", "compact"]

# A grey level of an 8-bit file is a whole number of these.
_WHITE = 65535

IGNORED = 255
"""Label of the pixels that are left out."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and masks of one size, divided into training, validation and test.

    Attributes:
        images: Shape (images, size, size, 1 or 3): uint16 values that stand for 0 to 1, which
            takes half the memory, or float32 ones; see `pixels`.
        masks: uint8 class numbers, shape (images, size, size); 255 is left out.
        names: Name of every image.
        groups: Group of every image; no group is in two parts.
        train: Indices of the training images.
        validation: Indices of the validation images.
        test: Indices of the test images.
        classes: Number of classes, background included.
        vanished: Images whose objects are too small to be left at this size.
    """

    images: npt.NDArray[np.uint16] | npt.NDArray[np.float32]
    masks: npt.NDArray[np.uint8]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    classes: int
    vanished: int = 0

    def pixels(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Images as float32 values between 0 and 1."""
        return as_float(self.images[indices])

    @cached_property
    def foreground(self) -> float:
        """Share of the pixels that are not background; ignored pixels do not count."""
        valid = self.masks != IGNORED
        return float(np.sum((self.masks > 0) & valid) / max(1, np.sum(valid)))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over images, masks and split, as hexadecimal digits."""
        digest = hashlib.sha256()
        for array in (self.images, self.masks, self.train, self.validation, self.test):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def summary(self) -> str:
        """Describe the data set in a line, and give advice in a second one if there is any."""
        count, size = self.masks.shape[:2]
        first = (
            f"{count} {'grey' if self.images.shape[-1] == 1 else 'colour'} images at {size} px, "
            f"{self.classes} classes, {self.foreground:.2%} foreground; {len(self.train)} train, "
            f"{len(self.validation)} validation, {len(self.test)} test"
        )
        grouped = self.groups != self.names
        if grouped:
            first += f" in {len(set(self.groups))} groups"
        return "\n".join([first, " ".join(self._advice(grouped))]).rstrip()

    def _advice(self, grouped: bool) -> list[str]:
        advice = []
        if self.vanished:
            advice.append(
                f"{self.vanished} images lost all their foreground at this size: raise --size."
            )
        if self.classes == 2 and self.foreground > 0.5:
            advice.append("More than half is foreground: are the masks inverted?")
        if not grouped:
            advice += _tile_hint(self.names)
        return advice

    def save(self, path: Path) -> None:
        """Write the data set to one `.npz` file."""
        # A process that looks for the file must never find half of it.
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with unfinished.open("wb") as file:
                np.savez(
                    file,
                    images=self.images,
                    masks=self.masks,
                    # Characters, not objects: nothing in the file needs pickle.
                    names=np.asarray(self.names, dtype=np.str_),
                    groups=np.asarray(self.groups, dtype=np.str_),
                    train=self.train,
                    validation=self.validation,
                    test=self.test,
                    classes=np.asarray(self.classes),
                    vanished=np.asarray(self.vanished),
                )
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    @classmethod
    def load_npz(cls, path: Path) -> Dataset:
        """Read what `save` has written; nothing in the file is executed."""
        # A file of our own, since NumPy leaves a damaged one open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return cls(
                images=stored["images"],
                masks=stored["masks"],
                names=tuple(stored["names"].tolist()),
                groups=tuple(stored["groups"].tolist()),
                train=stored["train"],
                validation=stored["validation"],
                test=stored["test"],
                classes=int(stored["classes"]),
                vanished=int(stored["vanished"]),
            )


def compact(images: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Values between 0 and 1 in half the memory, to a 130,000th."""
    stored: npt.NDArray[np.uint16] = np.rint(images * np.float32(_WHITE)).astype(np.uint16)
    return stored


def as_float(
    images: npt.NDArray[np.uint16] | npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """What `Dataset.images` holds, as float32 values between 0 and 1."""
    if images.dtype == np.uint16:
        return images.astype(np.float32) / np.float32(_WHITE)
    return images.astype(np.float32, copy=False)


def _tile_hint(names: tuple[str, ...]) -> list[str]:
    """Advice if all names look like tiles: several prefixes, each with a few short numbers."""
    matches = [re.fullmatch(r"(.+)[_-][a-zA-Z]?\d{1,2}", name) for name in names]
    tiles = Counter(match.group(1) for match in matches if match)
    shared = [prefix for prefix, number in tiles.items() if number > 1]
    together = sum(tiles[prefix] for prefix in shared)
    if not all(matches) or len(tiles) < 3 or together * 2 < len(names):
        return []
    example = max(sorted(shared), key=lambda prefix: tiles[prefix])
    if tiles[example] > 16:
        return []
    return [
        f"Names such as {example!r} plus a number look like tiles of one picture: if they are, "
        "keep them together with --group '(.+)[_-]'."
    ]
