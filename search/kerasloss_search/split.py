"""Divide the images of a data set into training, validation and test, whole groups at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Indices", "fold_groups", "group_names", "split_groups"]

Indices = npt.NDArray[np.int64]

# The best of so many shuffles: enough to hit the sizes and to spread rare foreground, and a
# fraction of a second for ten thousand images.
_SHUFFLES = 400


def group_names(names: Sequence[str], pattern: str | None) -> tuple[list[str], list[str]]:
    """Name the group of every image.

    Args:
        names: Image names.
        pattern: Regular expression searched in each name; its first parenthesis names the
            group, or the whole match if it has none. `None` makes every image a group.

    Returns:
        One group name an image, and the problems: one line each.
    """
    groups = list(names)
    problems: list[str] = []
    if pattern is not None:
        try:
            regex = re.compile(pattern)
        except re.error as error:
            return groups, [f"--group {pattern!r}: is no regular expression ({error}); correct it"]
        for place, name in enumerate(names):
            match = regex.search(name)
            if match is None:
                problems.append(f"{name}: --group {pattern!r} does not match; adapt it")
                continue
            first = match.group(1) if regex.groups else None
            groups[place] = match.group(0) if first is None else first
    kinds = sorted(set(groups))
    if len(names) < 3:
        problems.append(
            f"{len(names)} images are too few; training, validation and test need one each, "
            "so add images"
        )
    elif len(kinds) < 3 and not problems:
        problems.append(
            f"--group {pattern!r}: puts all images into {len(kinds)} groups "
            f"({', '.join(map(repr, kinds))}); training, validation and test need one each, "
            "so make it tell more groups apart"
        )
    return groups, problems


def split_groups(
    groups: Sequence[str],
    foreground: npt.NDArray[np.float64],
    present: npt.NDArray[np.bool_],
    *,
    validation: float,
    test: float,
    seed: int,
) -> tuple[Indices, Indices, Indices]:
    """Split images so that no group is in two parts.

    Of many seeded shuffles the best one wins: first the classes that training and validation
    lack (then test), then the distance from the wanted sizes, then how unequal the mean
    foreground is. The result depends on the seed and on the order of the images alone.

    Args:
        groups: Group of every image; at least three different ones.
        foreground: Share of foreground of every image.
        present: Which classes every image holds, shape (images, classes).
        validation: Wanted share of the images for validation.
        test: Wanted share of the images for the test.
        seed: Seed of the shuffles.

    Returns:
        Indices of the training, validation and test images, each in ascending order.
    """
    kinds, member = np.unique(np.asarray(groups), return_inverse=True)
    count = len(kinds)
    sizes = np.bincount(member, minlength=count)
    mass = np.bincount(member, weights=foreground, minlength=count)
    holds = np.zeros((count, present.shape[1]), dtype=np.bool_)
    np.logical_or.at(holds, member, present)
    total = sizes.sum()
    wanted = np.array([1 - validation - test, validation, test]) * total
    rich = np.flatnonzero(holds[:, 1:].any(axis=1))

    rng = np.random.default_rng(seed)
    best: tuple[int, int, float, float] | None = None
    chosen = np.zeros(count, dtype=np.int64)
    for attempt in range(_SHUFFLES):
        order = rng.permutation(count)
        if attempt % 2 and len(rich) > 1:
            # Validation starts at the front, training ends at the back: with foreground at
            # both ends neither lacks it, however rare it is.
            ends = rng.choice(rich, size=2, replace=False)
            order = np.concatenate([ends[:1], order[~np.isin(order, ends)], ends[1:]])
        filled = np.cumsum(sizes[order])
        first = _nearest(filled[: count - 2], wanted[1])
        second = first + _nearest(filled[first : count - 1] - filled[first - 1], wanted[2])
        part = np.zeros(count, dtype=np.int64)
        part[order[:first]] = 1
        part[order[first:second]] = 2
        got = np.bincount(part, weights=sizes, minlength=3)
        lacking = [int(np.sum(holds.any(0) & ~holds[part == one].any(0))) for one in range(3)]
        means = np.bincount(part, weights=mass, minlength=3) / got
        cost = (
            lacking[0] + lacking[1],
            lacking[2],
            float(np.abs(got - wanted).sum()),
            float(np.ptp(means)),
        )
        if best is None or cost < best:
            best, chosen = cost, part
    of_image = chosen[member]
    train, held, final = (np.flatnonzero(of_image == one).astype(np.int64) for one in range(3))
    return train, held, final


def fold_groups(groups: Sequence[str], folds: int, *, seed: int) -> list[Indices]:
    """Divide images into folds of about equal size so that no group is in two of them.

    Args:
        groups: Group of every image; at least `folds` different ones.
        folds: Number of folds.
        seed: Seed of the order in which groups of one size are dealt out.

    Returns:
        Indices of the images of every fold, in ascending order.
    """
    kinds, member = np.unique(np.asarray(groups), return_inverse=True)
    if len(kinds) < folds:
        raise ValueError(
            f"--folds: expected at most {len(kinds)}, the number of groups that are not for the "
            f"test. Received: {folds}."
        )
    sizes = np.bincount(member)
    order = np.random.default_rng(seed).permutation(len(kinds))
    filled = np.zeros(folds, dtype=np.int64)
    fold_of = np.zeros(len(kinds), dtype=np.int64)
    # The largest first, each to the fold that is emptiest.
    for kind in sorted(order, key=lambda one: -sizes[one]):
        fold_of[kind] = np.argmin(filled)
        filled[fold_of[kind]] += sizes[kind]
    of_image = fold_of[member]
    return [np.flatnonzero(of_image == fold).astype(np.int64) for fold in range(folds)]


def _nearest(filled: npt.NDArray[np.int64], wanted: float) -> int:
    """How many leading groups come nearest to a number of images; at least one."""
    return int(np.argmin(np.abs(filled - wanted))) + 1
