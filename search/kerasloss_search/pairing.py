"""Find the picture files of a data set and pair every image with its masks."""

from __future__ import annotations

import bisect
import fnmatch
import glob
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kerasloss_search.images import SUFFIXES

__all__ = ["Sample", "pair"]


@dataclass(frozen=True)
class Sample:
    """One image with its masks.

    Attributes:
        name: Path of the image below its folder, without suffix; unique in a data set.
        image: The image file.
        masks: The mask files; several are united.
        group: Images of one group never end up in two parts of a split.
    """

    name: str
    image: Path
    masks: tuple[Path, ...]
    group: str


def pair(
    images: Path, masks: Path | None, mask_pattern: str | None
) -> tuple[list[Sample], list[str]]:
    """Pair images and masks, by equal stems or by a pattern.

    Args:
        images: Folder with the images, searched recursively.
        masks: Folder with the masks; `None` when they lie beside the images.
        mask_pattern: Name of the masks of an image, such as `{stem}_mask*`. Without it image
            and mask have the same path below their folders, except for the suffix.

    Returns:
        The samples in the order of their names (images without a mask included), and the
        problems: one line each, none if the pairing is sound.
    """
    problem = _setting_problem(images, masks, mask_pattern)
    if problem:
        return [], [problem]
    beside = masks is None or masks.resolve() == images.resolve()
    apart = images if beside or masks is None else masks
    # One folder may lie inside the other: its files belong to one side only.
    found, problems = _pictures(images, skip=None if beside else apart)
    others = found
    if not beside:
        others, more = _pictures(apart, skip=images)
        problems += more
        if not others:
            problems.append(f"{apart}: holds no masks ({_endings()})")
    if not found:
        return [], [*problems, f"{images}: holds no images ({_endings()})"]
    if mask_pattern is None:
        owned = _same_stem(found, others, images, apart, problems)
    else:
        found, owned = _by_pattern(found, others, mask_pattern, images, apart, problems)
    samples: dict[str, Sample] = {}
    for file in found:
        name = _key(file)
        if name in samples:
            problems.append(
                f"{images / file}: has the same stem as {samples[name].image}; rename or "
                "remove one of them"
            )
            continue
        files = tuple(apart / mask for mask in owned[file])
        samples[name] = Sample(name, images / file, files, group=name)
    return [samples[name] for name in sorted(samples)], problems


def _setting_problem(images: Path, masks: Path | None, pattern: str | None) -> str | None:
    for option, folder in (("--images", images), ("--masks", masks)):
        if folder is not None and not folder.is_dir():
            return f"{folder}: is not a folder; correct {option}"
    if masks is None and pattern is None:
        return f"{images}: nothing says where the masks are; pass --masks or --mask-pattern"
    if pattern is None and masks is not None and masks.resolve() == images.resolve():
        return (
            f"{masks}: images and masks are in the same folder; tell them apart with "
            "--mask-pattern '{stem}_mask*'"
        )
    if pattern is not None and "{stem}" not in pattern:
        return f"--mask-pattern {pattern!r}: must contain {{stem}}, as in '{{stem}}_mask*'"
    if pattern is not None and (".." in pattern or pattern.startswith(("/", "\\"))):
        return f"--mask-pattern {pattern!r}: must stay inside the data folder; pass --masks"
    return None


def _pictures(root: Path, skip: Path | None) -> tuple[list[str], list[str]]:
    """Relative paths of the pictures below a folder in sorted order, and the problems."""
    real_root = root.resolve()
    left_out = None if skip is None else skip.resolve()
    found: list[str] = []
    problems: list[str] = []

    def unreadable(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be listed; correct its permissions")

    for folder, subfolders, files in os.walk(root, onerror=unreadable):
        here = Path(folder)
        kept = []
        for name in subfolders:
            # Hidden folders hold an editor's or a system's files, never the user's pictures.
            if name.startswith(".") or (here / name).resolve() == left_out:
                continue
            if (here / name).is_symlink():
                problems.append(f"{here / name}: is a linked folder; copy its files into {root}")
            else:
                kept.append(name)
        subfolders[:] = kept
        for name in files:
            path = here / name
            if name.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            if not path.is_file():
                problems.append(f"{path}: is a broken link or no regular file; remove it")
            elif path.is_symlink() and not path.resolve().is_relative_to(real_root):
                problems.append(f"{path}: is a link that leaves {root}; copy the file instead")
            else:
                found.append(path.relative_to(root).as_posix())
    return sorted(found), sorted(problems)


def _endings() -> str:
    return ", ".join(sorted(SUFFIXES))


def _key(file: str) -> str:
    return PurePosixPath(file).with_suffix("").as_posix()


def _same_stem(
    found: list[str], others: list[str], images: Path, masks: Path, problems: list[str]
) -> dict[str, list[str]]:
    """Pair equal stems; add what does not pair to the problems."""
    by_key: dict[str, list[str]] = defaultdict(list)
    for file in others:
        by_key[_key(file)].append(file)
    keys = {_key(file) for file in found}
    if others and not keys & by_key.keys():
        problems.append(_no_pair_at_all(sorted(keys), sorted(by_key), masks))
    for file in found:
        candidates = by_key.get(_key(file), [])
        if not candidates:
            problems.append(
                f"{images / file}: has no mask {masks / _key(file)}.*; add it or remove the image"
            )
        elif len(candidates) > 1:
            listed = ", ".join(candidates)
            problems.append(
                f"{images / file}: has {len(candidates)} masks of the same stem ({listed}); "
                "keep one of them"
            )
    for key in sorted(by_key.keys() - keys):
        problems.extend(
            f"{masks / file}: has no image {images / key}.*; add it or remove the mask"
            for file in by_key[key]
        )
    return {file: by_key.get(_key(file), [])[:1] for file in found}


def _no_pair_at_all(images: list[str], masks: list[str], folder: Path) -> str:
    """One line before the long list: a systematic difference in names is the usual cause."""
    example = f"{folder}: no mask has the stem of an image (such as {images[0]})"
    for stem in images[:10]:
        for mask in masks:
            if mask.startswith(stem):
                return f"{example}; pass --mask-pattern '{{stem}}{mask[len(stem) :]}*'"
    return f"{example}; give both the same stem or pass --mask-pattern"


def _by_pattern(
    found: list[str],
    others: list[str],
    pattern: str,
    images: Path,
    masks: Path,
    problems: list[str],
) -> tuple[list[str], dict[str, list[str]]]:
    """Pair by a pattern; return the files that are images and the masks of each."""
    beside = found is others
    claims = {file: _claimed(file, others, pattern) for file in found}
    owners: dict[str, list[str]] = defaultdict(list)
    for file, claimed in claims.items():
        if beside:
            claimed.discard(file)
        for mask in sorted(claimed):
            owners[mask].append(file)
    # In one folder a file is an image unless another file calls it its mask.
    kept = [file for file in found if not (beside and file in owners)]
    if not kept:
        problems.append(
            f"{images}: --mask-pattern {pattern!r} calls every picture a mask; make it narrower"
        )
    if kept and not any(claims[file] for file in kept):
        if others:
            problems.append(_no_mask_at_all(kept, others, pattern, masks))
        return kept, {file: [] for file in kept}
    is_image = set(kept)
    for mask in others:
        claimants = [file for file in owners.get(mask, []) if file in is_image]
        if len(claimants) > 1:
            problems.append(
                f"{masks / mask}: fits {len(claimants)} images ({', '.join(claimants)}); make "
                f"--mask-pattern {pattern!r} narrower or rename the mask"
            )
        elif not claimants and mask not in is_image and kept:
            problems.append(
                f"{masks / mask}: --mask-pattern {pattern!r} gives it to no image; rename or "
                "remove it"
            )
    for file in kept:
        if not claims[file]:
            problems.append(
                f"{images / file}: no mask fits --mask-pattern {pattern!r}; add one or remove "
                "the image"
            )
    return kept, {file: sorted(claims[file]) for file in kept}


def _no_mask_at_all(images: list[str], others: list[str], pattern: str, folder: Path) -> str:
    """One line instead of one a file: it is the pattern that is wrong."""
    line = f"{folder}: no mask fits --mask-pattern {pattern!r}, for no image (such as {images[0]})"
    if any(_claimed(image, others, f"{pattern}*") - {image} for image in images[:10]):
        return f"{line}; it has to match the ending, too, as in {pattern + '*'!r}"
    return f"{line}; correct it: it stands for the whole name, as in '{{stem}}_mask*'"


def _claimed(image: str, candidates: list[str], pattern: str) -> set[str]:
    """The candidates (sorted) that the pattern of one image fits."""
    place = PurePosixPath(image)
    folder = "" if place.parent == PurePosixPath(".") else f"{place.parent.as_posix()}/"
    # Stems contain brackets and parentheses, which must not act as wildcards.
    wanted = glob.escape(folder) + pattern.replace("{stem}", glob.escape(place.stem))
    fits = re.compile(fnmatch.translate(wanted)).match
    literal = folder + _literal_prefix(pattern).replace("{stem}", place.stem)
    return {
        file
        for file in _starting_with(literal, candidates)
        # `*` must not cross into a subfolder.
        if fits(file) and file.count("/") == wanted.count("/")
    }


def _literal_prefix(pattern: str) -> str:
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]


def _starting_with(prefix: str, names: list[str]) -> Iterable[str]:
    """The names with a prefix, found without looking at all of them."""
    for place in range(bisect.bisect_left(names, prefix), len(names)):
        if not names[place].startswith(prefix):
            return
        yield names[place]
