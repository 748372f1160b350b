"""Groups stay together, sizes are met, and foreground is spread."""

from __future__ import annotations

import time

import numpy as np
import pytest
from kerasloss_search.split import fold_groups, group_names, split_groups
from numpy.testing import assert_array_equal


def divide(
    groups: list[str],
    foreground: np.ndarray | None = None,
    *,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split with two classes; foreground everywhere unless given."""
    share = np.full(len(groups), 0.1) if foreground is None else foreground
    present = np.stack([np.ones(len(groups), dtype=bool), share > 0], axis=1)
    return split_groups(groups, share, present, validation=validation, test=test, seed=seed)


def test_every_image_its_own_group() -> None:
    """Without a pattern the name is the group."""
    assert group_names(["a", "b/c", "d"], None) == (["a", "b/c", "d"], [])


@pytest.mark.parametrize("pattern", [r"^(.+)_\d+$", r"^.+(?=_\d+$)", r"(?P<picture>.*)_"])
def test_group_is_the_first_parenthesis_or_the_match(pattern: str) -> None:
    """A pattern with and one without parentheses name the same groups."""
    groups, problems = group_names(["p_1_0", "p_1_1", "p_2_0", "q_0"], pattern)
    assert (groups, problems) == (["p_1", "p_1", "p_2", "q"], [])


def test_empty_optional_group_falls_back_to_the_match() -> None:
    """A parenthesis that took no part does not name a group None."""
    assert group_names(["ax", "b", "cx"], "(ax)?.*")[0] == ["ax", "b", "cx"]


@pytest.mark.parametrize(
    ("names", "pattern", "expected"),
    [
        (["a_0", "b_0", "c_0"], "(", "--group '(': is no regular expression"),
        (["a_0", "b_0", "c"], "(.)_", "c: --group '(.)_' does not match"),
        (["a_0", "a_1", "b_0"], "(.)_", "puts all images into 2 groups ('a', 'b')"),
        (["a", "b", "c"], "", "puts all images into 1 groups ('')"),
        (["a", "b"], None, "2 images are too few"),
    ],
)
def test_groups_that_cannot_work(names: list[str], pattern: str | None, expected: str) -> None:
    """A bad pattern, an unmatched name and too few groups are reported."""
    _, problems = group_names(names, pattern)
    assert len(problems) == 1 and expected in problems[0]


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_complete_and_groups_stay_together(seed: int) -> None:
    """Every image is in exactly one part, and no group is in two."""
    rng = np.random.default_rng(seed)
    groups = [f"g{number}" for number in rng.integers(0, 12, 60)]
    parts = divide(groups, seed=seed)
    assert_array_equal(np.sort(np.concatenate(parts)), np.arange(60))
    named = [{groups[place] for place in part} for part in parts]
    assert not (named[0] & named[1] or named[0] & named[2] or named[1] & named[2])
    assert all(np.all(np.diff(part) > 0) for part in parts)


@pytest.mark.parametrize("count", [3, 4, 5, 10, 97])
def test_sizes_of_single_images_are_exact(count: int) -> None:
    """Without groups each part has the rounded number of images, and at least one."""
    parts = divide([str(number) for number in range(count)])
    assert abs(len(parts[1]) - 0.2 * count) <= 0.8
    assert abs(len(parts[2]) - 0.2 * count) <= 0.8
    assert min(len(part) for part in parts) >= 1


def test_sizes_of_groups_are_near() -> None:
    """Groups of one to four images still give parts near the fractions."""
    groups = [f"g{number}" for number in range(40) for _ in range(1 + number % 4)]
    parts = divide(groups, validation=0.3, test=0.1)
    assert [len(part) for part in parts] == [60, 30, 10]


def test_seed_decides() -> None:
    """Equal seeds give equal splits, others give others."""
    groups = [str(number) for number in range(50)]
    first, again, other = divide(groups), divide(groups), divide(groups, seed=1)
    for one, two in zip(first, again, strict=True):
        assert_array_equal(one, two)
    assert not np.array_equal(first[1], other[1])


@pytest.mark.parametrize("seed", range(10))
def test_rare_foreground_reaches_training_and_validation(seed: int) -> None:
    """Two images with foreground among 300 are enough, even for a tiny validation part."""
    share = np.zeros(300)
    share[[17, 205]] = 0.5
    train, validation, _ = divide(
        [str(number) for number in range(300)], share, validation=0.01, seed=seed
    )
    assert len(validation) == 3
    assert share[train].max() > 0
    assert share[validation].max() > 0


def test_every_class_reaches_training_and_validation() -> None:
    """A class in few images is not lost to one part."""
    present = np.zeros((60, 4), dtype=bool)
    present[:, 0] = True
    present[[3, 4, 5], 1] = present[[20, 40], 2] = present[[50, 51, 52, 53], 3] = True
    parts = split_groups(
        [str(number) for number in range(60)],
        present[:, 1:].mean(axis=1),
        present,
        validation=0.2,
        test=0.2,
        seed=0,
    )
    assert present[parts[0]].any(axis=0).all()
    assert present[parts[1]].any(axis=0).all()


def test_foreground_is_spread() -> None:
    """The mean foreground of the parts differs by little."""
    share = np.random.default_rng(0).beta(0.5, 5, 80)
    parts = divide([str(number) for number in range(80)], share)
    means = [share[part].mean() for part in parts]
    assert max(means) - min(means) < 0.1 * share.mean()


def test_many_images_are_split_quickly() -> None:
    """Ten thousand groups take no noticeable time."""
    started = time.perf_counter()
    divide([str(number) for number in range(10_000)])
    assert time.perf_counter() - started < 20


def test_folds_hold_every_image_once_and_no_group_twice():
    groups = [f"g{index // 3}" for index in range(30)] + ["large"] * 12
    folds = fold_groups(groups, 4, seed=1)
    assert sorted(np.concatenate(folds)) == list(range(42))
    for fold in folds:
        inside = {groups[index] for index in fold}
        outside = {groups[index] for index in set(range(42)) - set(fold)}
        assert not inside & outside
    assert sorted(map(len, folds)) == [9, 9, 12, 12]
    assert [fold.tolist() for fold in fold_groups(groups, 4, seed=1)] == [f.tolist() for f in folds]
    assert [fold.tolist() for fold in fold_groups(groups, 4, seed=2)] != [f.tolist() for f in folds]


def test_more_folds_than_groups_are_refused():
    with pytest.raises(ValueError, match="--folds: expected at most 2.*Received: 3"):
        fold_groups(["a", "b", "a"], 3, seed=0)
