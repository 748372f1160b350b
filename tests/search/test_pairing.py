"""Which mask belongs to which image, and what is said when that is not clear."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kerasloss_search.pairing import pair


def touch(root: Path, *names: str) -> None:
    """Make empty files; pairing never opens them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def paired(
    root: Path, pattern: str | None = None, masks: str | None = None
) -> tuple[dict[str, list[str]], list[str]]:
    """Names of the samples with their masks relative to the root, and the problems."""
    images = root / "images" if masks else root
    samples, problems = pair(images, root / masks if masks else None, pattern)
    found = {one.name: [path.relative_to(root).as_posix() for path in one.masks] for one in samples}
    return found, [problem.replace(f"{root}/", "") for problem in problems]


def test_equal_stems_pair_in_subfolders(tmp_path: Path) -> None:
    """The path without suffix is the stem, and only pictures count."""
    touch(tmp_path, "images/benign/x.PNG", "images/normal/x.jpg", "images/y.v2.tif")
    touch(tmp_path, "masks/benign/x.png", "masks/normal/x.bmp", "masks/y.v2.png")
    touch(tmp_path, "images/notes.txt", "images/.hidden.png", "masks/.cache/z.png")
    assert paired(tmp_path, masks="masks") == (
        {
            "benign/x": ["masks/benign/x.png"],
            "normal/x": ["masks/normal/x.bmp"],
            "y.v2": ["masks/y.v2.png"],
        },
        [],
    )


def test_missing_pairs_are_named_in_both_directions(tmp_path: Path) -> None:
    """An image without mask and a mask without image are problems of their own."""
    touch(tmp_path, "images/a.png", "images/b.png", "masks/a.png", "masks/c.png")
    found, problems = paired(tmp_path, masks="masks")
    assert sorted(found) == ["a", "b"]
    assert problems == [
        "images/b.png: has no mask masks/b.*; add it or remove the image",
        "masks/c.png: has no image images/c.*; add it or remove the mask",
    ]


def test_a_common_ending_of_all_masks_suggests_a_pattern(tmp_path: Path) -> None:
    """When nothing pairs because masks have a suffix, the first line gives the option."""
    touch(tmp_path, "images/a.png", "images/b.png", "masks/a_seg.png", "masks/b_seg.png")
    _, problems = paired(tmp_path, masks="masks")
    assert len(problems) == 5
    assert problems[0].endswith("pass --mask-pattern '{stem}_seg*'")
    assert paired(tmp_path, "{stem}_seg*", masks="masks") == (
        {"a": ["masks/a_seg.png"], "b": ["masks/b_seg.png"]},
        [],
    )


def test_nothing_in_common_gives_an_example(tmp_path: Path) -> None:
    """When names differ altogether, the first line shows a stem instead of guessing."""
    touch(tmp_path, "images/a.png", "masks/x.png")
    _, problems = paired(tmp_path, masks="masks")
    assert problems[0] == (
        "masks: no mask has the stem of an image (such as a); give both the same stem or pass "
        "--mask-pattern"
    )


def test_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subfolder without permission is a problem, not fewer images."""
    touch(tmp_path, "images/a.png", "images/b/b.png", "masks/a.png")
    listing = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("/images/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found, problems = paired(tmp_path, masks="masks")
    assert found == {"a": ["masks/a.png"]}
    assert problems == ["images/b: cannot be listed; correct its permissions"]


def test_two_images_with_one_stem(tmp_path: Path) -> None:
    """Two formats of one name cannot be told apart by their stem."""
    touch(tmp_path, "images/a.png", "images/a.jpg", "masks/a.png")
    _, problems = paired(tmp_path, masks="masks")
    assert problems == [
        "images/a.png: has the same stem as images/a.jpg; rename or remove one of them"
    ]


def test_ambiguous_masks(tmp_path: Path) -> None:
    """Two masks of one stem are listed, not picked from."""
    touch(tmp_path, "images/a.png", "masks/a.png", "masks/a.tif")
    _, problems = paired(tmp_path, masks="masks")
    assert problems == [
        "images/a.png: has 2 masks of the same stem (a.png, a.tif); keep one of them"
    ]


@pytest.mark.parametrize("stem", ["x (1)", "x [1]", "a*b", "x{stem}", "x.v2", "x?"])
def test_pattern_with_special_characters_in_the_stem(tmp_path: Path, stem: str) -> None:
    """Brackets, spaces and wildcards in a stem stand for themselves."""
    touch(tmp_path, f"in/{stem}.png", f"in/{stem}_mask.png", f"in/{stem}_mask_1.png")
    touch(tmp_path, "in/other.png", "in/other_mask.png", "x 1.png", "x 1_mask.png")
    found, problems = paired(tmp_path, "{stem}_mask*")
    assert problems == []
    assert found == {
        f"in/{stem}": [f"in/{stem}_mask.png", f"in/{stem}_mask_1.png"],
        "in/other": ["in/other_mask.png"],
        "x 1": ["x 1_mask.png"],
    }


def test_numbered_stems_do_not_take_each_others_masks(tmp_path: Path) -> None:
    """`x (1)` is not a prefix match of `x (10)`, and 1 not of 10."""
    names = [f"{stem}{end}.png" for stem in ("1", "10", "x (1)", "x (10)") for end in ("", "_mask")]
    touch(tmp_path, *names)
    found, problems = paired(tmp_path, "{stem}_mask*")
    assert problems == []
    assert {name: masks[0] for name, masks in found.items()} == {
        stem: f"{stem}_mask.png" for stem in ("1", "10", "x (1)", "x (10)")
    }


def test_pattern_stays_in_the_folder_of_the_image(tmp_path: Path) -> None:
    """A wildcard does not reach into subfolders, but a pattern may name one."""
    touch(tmp_path, "a.png", "a_mask.png", "a_mask_old/a_mask.png")
    found, problems = paired(tmp_path, "{stem}_mask*")
    assert found["a"] == ["a_mask.png"]
    assert len(problems) == 1 and "a_mask_old/a_mask.png: no mask fits" in problems[0]
    touch(tmp_path / "set", "a.png", "labels/a.png")
    assert paired(tmp_path / "set", "labels/{stem}.*") == ({"a": ["labels/a.png"]}, [])


def test_pattern_without_match_and_with_two_owners(tmp_path: Path) -> None:
    """An image without mask is a problem, and so is a mask that fits two images."""
    touch(tmp_path, "a.png", "a_b.png", "a_b_mask.png", "c.png")
    found, problems = paired(tmp_path, "{stem}*_mask*")
    assert sorted(found) == ["a", "a_b", "c"]
    assert problems == [
        "a_b_mask.png: fits 2 images (a.png, a_b.png); make --mask-pattern '{stem}*_mask*' "
        "narrower or rename the mask",
        "c.png: no mask fits --mask-pattern '{stem}*_mask*'; add one or remove the image",
    ]


@pytest.mark.parametrize("masks", [None, "masks"])
def test_pattern_without_an_ending(tmp_path: Path, masks: str | None) -> None:
    """One line where no mask fits at all: it is not the files that are wrong."""
    names = [f"{number:02d}" for number in range(12)]
    folder = f"{masks or 'images'}"
    touch(tmp_path / "images", *(f"{name}.png" for name in names))
    touch(tmp_path / folder, *(f"{name}_mask.png" for name in names))
    root = tmp_path if masks else tmp_path / "images"
    found, problems = paired(root, "{stem}_mask", masks=masks)
    place = masks or root
    assert problems == [
        f"{place}: no mask fits --mask-pattern '{{stem}}_mask', for no image (such as 00.png); it "
        "has to match the ending, too, as in '{stem}_mask*'"
    ]
    assert paired(root, "{stem}_mask*", masks=masks)[1] == []
    assert len(found) == (12 if masks else 24)
    _, problems = paired(root, "{stem}_label", masks=masks)
    assert len(problems) == 1 and "no mask fits --mask-pattern '{stem}_label'" in problems[0]


def test_pattern_that_calls_everything_a_mask(tmp_path: Path) -> None:
    """A pattern that leaves no image is reported as such."""
    touch(tmp_path, "a.png", "a.jpg")
    _, problems = paired(tmp_path, "{stem}.*")
    assert len(problems) == 1 and "calls every picture a mask" in problems[0]


def test_unclaimed_masks_in_a_folder_of_their_own(tmp_path: Path) -> None:
    """With a pattern and a mask folder, a mask of no image is a problem."""
    touch(tmp_path, "images/a.png", "masks/a_m.png", "masks/b_m.png")
    found, problems = paired(tmp_path, "{stem}_m*", masks="masks")
    assert found == {"a": ["masks/a_m.png"]}
    assert len(problems) == 1 and problems[0].startswith("masks/b_m.png: --mask-pattern")


def test_masks_folder_inside_the_images_folder(tmp_path: Path) -> None:
    """Masks below the images are not taken for images."""
    touch(tmp_path, "images/a.png", "images/masks/a.png")
    assert paired(tmp_path, masks="images/masks") == ({"a": ["images/masks/a.png"]}, [])


@pytest.mark.parametrize(
    ("pattern", "masks", "expected"),
    [
        (None, None, "nothing says where the masks are; pass --masks or --mask-pattern"),
        (None, "nowhere", "nowhere: is not a folder; correct --masks"),
        (None, "images", "images and masks are in the same folder"),
        ("mask*", None, "must contain {stem}"),
        ("../{stem}*", None, "must stay inside the data folder"),
        ("/etc/{stem}*", None, "must stay inside the data folder"),
    ],
)
def test_settings_that_cannot_work(
    tmp_path: Path, pattern: str | None, masks: str | None, expected: str
) -> None:
    """A setting that makes pairing impossible is the only problem."""
    touch(tmp_path, "images/a.png")
    samples, problems = pair(
        tmp_path / "images", None if masks is None else tmp_path / masks, pattern
    )
    assert samples == []
    assert len(problems) == 1 and expected in problems[0]


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    """A folder that is missing or holds no pictures is named with its option."""
    touch(tmp_path, "masks/a.png", "images/readme.txt")
    _, problems = pair(tmp_path / "none", tmp_path / "masks", None)
    assert problems == [f"{tmp_path / 'none'}: is not a folder; correct --images"]
    _, problems = paired(tmp_path, masks="masks")
    assert len(problems) == 1 and problems[0].startswith("images: holds no images (")
    (tmp_path / "masks" / "a.png").unlink()
    _, problems = paired(tmp_path, masks="masks")
    assert [problem.split(" (")[0] for problem in problems] == [
        "masks: holds no masks",
        "images: holds no images",
    ]


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    """A data folder cannot make the program read files elsewhere."""
    touch(tmp_path, "secret/s.png", "images/a.png", "images/b.png", "masks/a.png", "masks/b.png")
    os.symlink(tmp_path / "secret" / "s.png", tmp_path / "images" / "c.png")
    os.symlink(tmp_path / "secret", tmp_path / "masks" / "more")
    os.symlink("nothing.png", tmp_path / "images" / "d.png")
    (tmp_path / "masks" / "b.png").unlink()
    os.symlink("a.png", tmp_path / "masks" / "b.png")
    found, problems = paired(tmp_path, masks="masks")
    assert found == {"a": ["masks/a.png"], "b": ["masks/b.png"]}
    assert [problem.split(";")[0] for problem in problems] == [
        "images/c.png: is a link that leaves images",
        "images/d.png: is a broken link or no regular file",
        "masks/more: is a linked folder",
    ]


def test_the_data_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    """What the user names is trusted."""
    touch(tmp_path, "real/images/a.png", "real/masks/a.png")
    os.symlink(tmp_path / "real", tmp_path / "link")
    assert paired(tmp_path / "link", masks="masks") == ({"a": ["masks/a.png"]}, [])
