"""Turn a folder of images and masks into a checked, split data set in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from kerasloss_search.dataset import IGNORED, Dataset, compact
from kerasloss_search.images import ImageError, read_image, read_mask_values
from kerasloss_search.masks import (
    Depth,
    Survey,
    binarise,
    binary_tops,
    has_foreground,
    label_problems,
    shrink_binary,
    shrink_labels,
    survey,
)
from kerasloss_search.pairing import Sample, pair
from kerasloss_search.split import group_names, split_groups

__all__ = ["DataError", "DataOptions", "Dataset", "Sample", "load", "scan"]

_SHOWN = 20


@dataclass(frozen=True)
class DataOptions:
    """Where a data set is and how it is read.

    Attributes:
        images: Folder with the images, searched recursively.
        masks: Folder with the masks; `None` when they lie beside the images.
        mask_pattern: Name of an image's masks, such as `{stem}_mask*`; without it, image and
            mask have equal stems.
        classes: Number of classes, background included.
        size: Height and width in px to which everything is brought.
        group: Regular expression that finds the group in an image's name.
        seed: Seed of the split.
        validation: Share of the images for validation.
        test: Share of the images for the test.
        ignore_value: Mask value of pixels to leave out.
    """

    images: Path
    masks: Path | None = None
    mask_pattern: str | None = None
    classes: int = 2
    size: int = 128
    group: str | None = None
    seed: int = 0
    validation: float = 0.2
    test: float = 0.2
    ignore_value: int | None = None


class DataError(Exception):
    """A data set that cannot be used, with everything that is wrong with it.

    Attributes:
        problems: One line each: the file or the option, what is wrong, and the remedy.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        # A line break in a file name must not break the one-line form.
        self.problems = [problem.replace("\n", "\\n") for problem in problems]
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        lines = [f"{count} {'problem' if count == 1 else 'problems'} in the data:"]
        lines += [f"- {problem}" for problem in self.problems[:_SHOWN]]
        if count > _SHOWN:
            lines.append(f"and {count - _SHOWN} more")
        return "\n".join(lines)


@dataclass(frozen=True)
class _Pixels:
    """What one sample holds at the working size; `image` is `None` after a problem."""

    image: npt.NDArray[np.float32] | None
    masks: list[npt.NDArray[np.float32] | npt.NDArray[np.uint8]]
    surveys: list[Survey]
    problems: list[str]


def scan(options: DataOptions) -> list[Sample]:
    """Check a whole data set by decoding every file.

    Returns:
        The samples in the order of their names.

    Raises:
        DataError: With all the problems of the data set at once.
    """
    return _read_all(options, None)[0]


def load(options: DataOptions, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """Read, check, resize and split a data set.

    Every file is decoded once; the checks are those of `scan`.

    Args:
        options: Where the data set is and how it is read.
        progress: Called with the number of samples read and the number of all samples.

    Raises:
        DataError: With all the problems of the data set at once.
    """
    samples, pixels, tops = _read_all(options, progress)
    images = [one.image for one in pixels if one.image is not None]
    colour = any(image.shape[-1] == 3 for image in images)
    stacked = np.empty((len(images), options.size, options.size, 3 if colour else 1), np.uint16)
    for place, image in enumerate(images):
        stacked[place] = compact(image)
    masks = np.stack([_labels(one, options.classes, tops) for one in pixels])
    if not np.any((masks > 0) & (masks != IGNORED)):
        raise DataError(
            [f"{options.images}: no foreground is left at {options.size} px; raise --size"]
        )
    present = np.stack(
        [(masks == label).any(axis=(1, 2)) for label in range(options.classes)], axis=1
    )
    valid = np.maximum(1, (masks != IGNORED).sum(axis=(1, 2)))
    share = ((masks > 0) & (masks != IGNORED)).sum(axis=(1, 2)) / valid
    groups = tuple(sample.group for sample in samples)
    train, validation, test = split_groups(
        groups,
        share,
        present,
        validation=options.validation,
        test=options.test,
        seed=options.seed,
    )
    drawn = [_drawn(one, options.classes, tops) for one in pixels]
    return Dataset(
        images=stacked,
        masks=masks,
        names=tuple(sample.name for sample in samples),
        groups=groups,
        train=train,
        validation=validation,
        test=test,
        classes=options.classes,
        vanished=int(np.sum(np.array(drawn) & (share == 0))),
    )


def _read_all(
    options: DataOptions, progress: Callable[[int, int], None] | None
) -> tuple[list[Sample], list[_Pixels], dict[Depth, float]]:
    problems = _option_problems(options)
    samples, more = pair(options.images, options.masks, options.mask_pattern)
    problems += more
    if samples:
        groups, more = group_names([sample.name for sample in samples], options.group)
        problems += more
        samples = [
            replace(sample, group=group) for sample, group in zip(samples, groups, strict=True)
        ]
    pixels: list[_Pixels] = []
    # Decoding releases Python's lock, so that threads use all cores.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for done in pool.map(lambda sample: _read(sample, options), samples):
            pixels.append(done)
            if progress is not None:
                progress(len(pixels), len(samples))
    for one in pixels:
        problems += one.problems
    surveys = [found for one in pixels for found in one.surveys]
    tops: dict[Depth, float] = {}
    if options.classes > 2:
        problems += label_problems(surveys, options.classes, options.ignore_value)
    else:
        tops, more = binary_tops(surveys)
        problems += more
    if surveys and not any(_drawn(one, options.classes, tops) for one in pixels):
        problems.append(
            f"{options.masks or options.images}: every mask is empty; draw the objects in some"
        )
    if problems:
        raise DataError(problems)
    return samples, pixels, tops


def _option_problems(options: DataOptions) -> list[str]:
    problems = []
    if not 2 <= options.classes <= IGNORED:
        problems.append(f"--classes {options.classes}: must be 2 to {IGNORED}; correct it")
    if options.size < 1:
        problems.append(f"--size {options.size}: must be at least 1 px; correct it")
    for name, share in (("--validation", options.validation), ("--test", options.test)):
        if not 0 < share < 1:
            problems.append(f"{name} {share}: must be between 0 and 1; correct it")
    if not problems and options.validation + options.test >= 1:
        problems.append("--validation and --test leave nothing to train on; lower them")
    if options.seed < 0:
        problems.append(f"--seed {options.seed}: must be 0 or more; correct it")
    return problems


def _read(sample: Sample, options: DataOptions) -> _Pixels:
    """Decode, check and shrink one sample; runs in several threads."""
    size = max(1, options.size)
    problems: list[str] = []
    image = shape = None
    try:
        values = read_image(sample.image)
        shape = values.shape[:2]
        image = _shrink_image(values, size)
    except ImageError as error:
        problems.append(str(error))
    masks: list[npt.NDArray[np.float32] | npt.NDArray[np.uint8]] = []
    surveys = []
    if options.classes > 2 and len(sample.masks) > 1:
        listed = ", ".join(path.name for path in sample.masks)
        problems.append(
            f"{sample.image}: has {len(sample.masks)} label masks ({listed}), which cannot be "
            "united; keep one of them"
        )
    for path in sample.masks:
        try:
            raw = read_mask_values(path, indexed=options.classes > 2)
        except ImageError as error:
            problems.append(str(error))
            continue
        if shape is not None and raw.shape != shape:
            problems.append(_size_problem(path, raw.shape, sample.image, shape))
        found, problem = survey(path, raw, options.ignore_value)
        if problem is not None:
            problems.append(problem)
        if found is not None:
            surveys.append(found)
            shrink = shrink_labels if options.classes > 2 else shrink_binary
            masks.append(shrink(raw, size, options.ignore_value))
    return _Pixels(image, masks, surveys, problems)


def _size_problem(
    mask: Path, mask_shape: tuple[int, ...], image: Path, image_shape: tuple[int, ...]
) -> str:
    cure = "export both at the same size"
    if mask_shape == image_shape[::-1]:
        cure = "one of them is turned, perhaps by the camera's orientation tag; save both upright"
    return (
        f"{mask}: is {mask_shape[1]} x {mask_shape[0]} px but its image {image.name} is "
        f"{image_shape[1]} x {image_shape[0]} px; {cure}"
    )


def _shrink_image(values: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Resize bilinearly; Pillow widens the filter when it reduces, so nothing aliases."""
    channels = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(values[..., channel])).resize(
                (size, size), Image.Resampling.BILINEAR
            )
        )
        for channel in range(values.shape[-1])
    ]
    shrunk: npt.NDArray[np.float32] = np.clip(np.stack(channels, axis=-1), 0, 1)
    return shrunk


def _labels(pixels: _Pixels, classes: int, tops: dict[Depth, float]) -> npt.NDArray[np.uint8]:
    """The labels of one sample; several binary masks are united."""
    if classes > 2:
        return pixels.masks[0].astype(np.uint8)
    parts = [
        binarise(mask.astype(np.float32), tops[found.depth])
        for mask, found in zip(pixels.masks, pixels.surveys, strict=True)
    ]
    united = np.maximum.reduce(parts)
    # `IGNORED` is the largest label, but an object in one mask outweighs 'unknown' in another.
    return np.where(np.any(np.stack(parts) == 1, axis=0), np.uint8(1), united)


def _drawn(pixels: _Pixels, classes: int, tops: dict[Depth, float]) -> bool:
    """Whether the masks of a sample hold foreground at their own size."""
    return any(
        has_foreground(found, 1 if classes > 2 else tops.get(found.depth, 1) / 2)
        for found in pixels.surveys
    )
