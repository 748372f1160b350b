"""The report of a search: what is on the page, what is not there."""

import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from finished_study import DICE, HD95, rewrite, write_study
from kerasloss_search.dataset import Dataset
from kerasloss_search.report import figures, overlays
from kerasloss_search.report import write as html_report
from kerasloss_search.report.drawing import Picture
from kerasloss_search.report.finished import Score, read_finished
from kerasloss_search.report.tables import probability
from kerasloss_search.report.write import write_report
from PIL import Image

VOID = {"meta", "img", "br", "link", "wbr"}
SMALL = {"trials": 14, "images": 4, "size": 24, "epochs": 7}
SECTIONS = (
    "ranking",
    "images",
    "curves",
    "weights",
    "history",
    "importance",
    "front",
    "findings",
    "provenance",
)


class Page(HTMLParser):
    """Takes a page apart; a tag that is left open or closed twice is an error."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.texts = [], [], []
        self.tables, self.section, self.words = [], None, {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = attributes["id"]
        elif tag == "table":
            self.tables.append((self.section, []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][1][-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.tables[-1][1][-1][-1] += data
        if "style" not in self.open:
            self.words[self.section] = self.words.get(self.section, "") + data

    def rows(self, section):
        return next(rows for place, rows in self.tables if place == section)


def report(folder):
    return Page(write_report(folder)[0].read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def two_scores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "my <b>study</b>"
    content = write_study(folder, scores=(DICE, HD95), classes=4, **SMALL)
    paths = write_report(folder)
    return folder, content, paths, paths[0].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(two_scores):
    return Page(two_scores[3])


@pytest.fixture
def no_drawing(monkeypatch):
    """Leaves the drawing out, which is slow, for what is not about it."""

    def drawn(name, draw, *, size, alt, caption):
        return Picture(name, "<svg></svg>", b"picture", alt, caption)

    for module in ("figures", "pareto"):
        monkeypatch.setattr(f"kerasloss_search.report.{module}.drawn", drawn)
    monkeypatch.setattr(overlays, "sheet", lambda draw, *, size: b"picture")


def test_every_part_is_there_and_none_is_missing(page):
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert tuple(sections) == SECTIONS
    assert not [one for one in page.tags if one[1].get("class") == "missing"]
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(drawings) == 6
    assert all(one["role"] == "img" and one["aria-label"] for one in drawings)


def test_the_page_begins_with_the_search_and_the_verdict(page, two_scores):
    _, content, _, text = two_scores
    for sentence in content["verdict"]:
        assert sentence in page.words[None]
        assert text.index(sentence) < text.index('id="ranking"')
    assert "14 trials, 5 of them plain losses" in page.words[None]
    assert "8 grey images at 24 px, 4 classes" in page.words[None]
    assert content["findings"][0] in page.words["findings"]
    assert content["provenance"]["command"] in page.words["provenance"]


def test_the_ranking_has_the_numbers_of_the_results(page, two_scores):
    content = two_scores[1]
    head, *rows = page.rows("ranking")
    best = content["best"]["trial"]
    assert head[-2:] == [f"difference from #{best}", "p, corrected"]
    finals = sorted(content["finals"], key=lambda one: -np.mean(one["validation"]))
    assert len(rows) == len(finals) > 3
    differences = {one["trial"]: one for one in content["comparisons"] if one["score"] == "dice"}
    for row, final in zip(rows, finals, strict=True):
        assert row[0].startswith(f"#{final['trial']} {final['label']}")
        assert ("plain" in row[0].split()) == (final["baseline"] is not None)
        assert ("best" in row[0].split()) == (final["trial"] == best)
        assert row[2] == f"{np.mean(final['validation']):.4f}"
        for cell, name, digits in ((row[3], "dice", 4), (row[4], "hd95", 2)):
            mean, low, high = (final["test"][name][key] for key in ("mean", "low", "high"))
            assert cell == f"{mean:.{digits}f}{low:.{digits}f} to {high:.{digits}f}"
        if final["trial"] == best:
            assert row[-2:] == ["compared with", "–"]
        else:
            found = differences[final["trial"]]
            numbers = [
                f"{found[key]:+.4f}".replace("-", "−") for key in ("difference", "low", "high")
            ]
            assert row[-2] == f"{numbers[0]}{numbers[1]} to {numbers[2]}"
            assert row[-1] == probability(found["p"])


def test_a_comparison_seen_from_the_other_side_is_turned(tmp_path, no_drawing):
    content = write_study(tmp_path, **SMALL)
    best, plain = content["best"]["trial"], content["finals"][0]["trial"]
    others = [one["trial"] for one in content["finals"] if one["trial"] != plain]
    assert best != plain
    numbers = {"score": "dice", "difference": 0.03, "low": 0.01, "high": 0.06, "p": 0.02}
    content["comparisons"] = [
        {"trial": plain, "against": other, "p_raw": 0.01, "units": 9, **numbers} for other in others
    ]
    rewrite(tmp_path, content)
    head, *rows = report(tmp_path).rows("ranking")
    finished = read_finished(tmp_path)
    assert head[-2] == f"difference from #{plain}"
    assert {row[-2] for row in rows} == {"compared with", "−0.0300−0.0600 to −0.0100"}
    assert finished.winner.trial == best


def test_pictures_are_of_the_best_the_median_and_the_worst_image(page, two_scores):
    folder, content, _, _ = two_scores
    best = next(one for one in content["finals"] if one["trial"] == content["best"]["trial"])
    scores = best["test"]["dice"]["per_image"]
    order = np.argsort(scores)[::-1]
    data = Dataset.load_npz(folder / "data.npz")
    head, *rows = page.rows("images")
    assert head[1:3] == ["image", "truth"]
    assert head[3].startswith("best plain loss: #")
    assert head[4].startswith(f"best searched loss, the best of all: #{best['trial']} ")
    for row, place, image in zip(rows, ("best", "median", "worst"), order[[0, 2, 3]], strict=True):
        assert row[0] == f"{place}{data.names[data.test[image]]}"
        assert row[4] == f"Dice {scores[image]:.4f}"
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert len(alts) == 12 and all(alts)


def test_hits_misses_alarms_and_confusions_have_their_own_colours():
    truth = np.zeros((16, 16), np.uint8)
    labels = truth.copy()
    truth[:4], labels[:4] = 1, 1
    truth[4:8] = 1
    labels[8:12] = 1
    truth[12:14], labels[12:14] = 1, 2
    truth[14:], labels[14:] = 255, 1
    painted = overlays._judged(np.full((16, 16, 3), 0.5, np.float32), truth, labels)
    scale = painted.shape[0] // 16
    marks = {one.look: one.colour for one in overlays.key_of(3) if "truth" not in one.name}
    looks = {"light": 2, "striped": 6, "solid": 10, "chequered": 13}
    assert marks.keys() == looks.keys()
    for look, row in looks.items():
        # On the edge of an area its own colour stands unmixed.
        starts = {"light": 4, "striped": 4, "solid": 8, "chequered": 12}[look] * scale
        line = painted[starts - 1 if look == "light" else starts, scale * 8]
        assert "#{:02x}{:02x}{:02x}".format(*line) == marks[look]
        area = painted[row * scale + 3 : (row + 1) * scale - 3].reshape(-1, 3)
        shades = len(np.unique(area, axis=0))
        assert shades == (2 if look in ("striped", "chequered") else 1)
    assert (painted[15 * scale :] < 60).all(), "what is left out is dark and without marks"


def test_the_page_needs_nothing_from_outside(two_scores, page):
    text = two_scores[3]
    assert not re.search(r"https?:", text, re.IGNORECASE)
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    for _, attributes in page.tags:
        for key in ("src", "href", "xlink:href"):
            assert attributes.get(key, "#").startswith(("#", "data:image/png;base64,"))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}


def test_no_two_elements_share_an_id_and_every_reference_leads_somewhere(page, two_scores):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r"url\(#([^)]+)\)", two_scores[3]))
    wanted |= {attributes["href"][1:] for _, attributes in page.tags if "href" in attributes}
    assert wanted and wanted <= set(ids)


def test_drawings_follow_the_theme(two_scores):
    text = two_scores[3]
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    # A colour of its own would not be seen on one of both backgrounds.
    assert not re.findall(r"(?:fill|stroke): #\w+", drawings)
    assert "currentColor" in drawings
    used = set(re.findall(r"var\(--(\w+)\)", drawings))
    styles = text[text.index("<style>") : text.index("</style>")]
    light, dark = styles.split("@media screen and (prefers-color-scheme: dark)")
    assert len(used) > 6
    assert all(f"--{name}:" in light for name in used)
    assert all(f"--{name}:" in dark for name in ("paper", "ink", "muted", "grid", "blue"))


def test_png_files_can_be_read(two_scores):
    folder, _, paths, _ = two_scores
    assert paths[0] == folder / "report.html"
    names = "ranking overlays curves weights history importance pareto".split()
    assert paths[1:] == [folder / "report" / f"{name}.png" for name in names]
    for path in paths[1:]:
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) > 100
            # Not one flat colour.
            assert (
                len(set(map(tuple, np.asarray(picture.convert("RGB"))[::9, ::9].reshape(-1, 3))))
                > 3
            )


def test_text_of_the_study_is_never_html(tmp_path):
    nasty = "<script>alert('1')</script> & \"$x_1$\" \ud800"
    content = write_study(tmp_path, **SMALL | {"images": 1})
    for trial in content["trials"]:
        trial.update(label=nasty, note=nasty, family=nasty)
        trial["logs"] = {f"weight/{nasty}": [0.1, 0.9]}
    for final in content["finals"]:
        final["label"] = nasty
        if final["baseline"]:
            final["baseline"] = nasty
    content["verdict"] = content["findings"] = [nasty]
    content["provenance"] = {nasty: nasty, "command": nasty}
    content["importance"] = {nasty: 0.7}
    content["scores"] = [DICE | {"title": nasty}]
    rewrite(tmp_path, content)
    data = Dataset.load_npz(tmp_path / "data.npz")
    names = tuple(nasty.encode("utf-8", "replace").decode() for _ in data.names)
    Dataset(**{**vars(data), "names": names}).save(tmp_path / "data.npz")
    text = write_report(tmp_path)[0].read_text(encoding="utf-8")
    page = Page(text)
    assert "<script" not in text
    shown = nasty.replace("\ud800", "?")
    for section in ("ranking", "images", "weights", "history", "importance", "findings"):
        assert "<script>alert('1')</script>" in page.words[section].replace("\n", " "), section
    assert page.words["provenance"].count(shown) == 3


def test_a_search_without_finals_says_so(tmp_path, no_drawing):
    content = write_study(tmp_path, **SMALL)
    first = {path.name for path in write_report(tmp_path)}
    for key in ("finals", "comparisons", "findings", "verdict"):
        content[key] = []
    content.update(best=None, importance={}, provenance={}, pareto=None)
    for trial in content["trials"]:
        trial.update(logs={}, curve=[])
    rewrite(tmp_path, content)
    page = report(tmp_path)
    assert first - {path.name for path in tmp_path.glob("report/*")} == {
        "report.html", "ranking.png", "overlays.png", "curves.png", "weights.png", "importance.png"
    }  # fmt: skip
    expected = {
        None: "no verdict yet",
        "ranking": "final trainings are not there yet",
        "images": "final trainings are not there yet",
        "curves": "No trial has ended an epoch yet",
        "weights": "No searched trial has told its weights",
        "importance": "No parameter can be said to matter",
        "front": "one score, Dice",
        "findings": "Nothing else was noted",
        "provenance": "do not tell",
    }
    for section, words in expected.items():
        assert words in page.words[section]
    ranked = sorted(
        (one for one in content["trials"] if one["outcome"] == "complete"),
        key=lambda one: -one["validation"],
    )
    assert page.rows("ranking")[1][1] == f"{ranked[0]['validation']:.4f}"


def test_a_search_in_which_nothing_has_ended(tmp_path):
    rewrite(tmp_path, {"format": 2, "scores": [DICE, HD95]})
    page = report(tmp_path)
    assert "No trial has ended yet" in page.words["history"]
    assert "not known yet" in page.words["front"]
    assert list((tmp_path / "report").iterdir()) == []


def spoil_data(folder, content):
    (folder / "data.npz").unlink()


def cut_data(folder, content):
    path = folder / "data.npz"
    path.write_bytes(path.read_bytes()[:500])


def spoil_labels(folder, content):
    for path in folder.glob("finals/*"):
        path.unlink()


def shorten_labels(folder, content):
    for path in folder.glob("finals/*"):
        np.savez(path, labels=np.zeros((2, 24, 24), np.uint8))


def forget_images(folder, content):
    for final in content["finals"]:
        final["test"]["dice"]["per_image"] = []
    rewrite(folder, content)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_data, "data.npz is missing"),
        (cut_data, "data.npz cannot be read"),
        (spoil_labels, r"the file finals/\d{4}-0.npz is missing"),
        (shorten_labels, "do not fit the test images"),
        (forget_images, "scores of the single test images are missing"),
    ],
)
def test_why_there_are_no_pictures(tmp_path, no_drawing, spoil, words):
    content = write_study(tmp_path, **SMALL)
    spoil(tmp_path, content)
    assert re.search(words, report(tmp_path).words["images"])


def test_weights_that_do_not_move_are_said_not_to(tmp_path, no_drawing):
    content = write_study(tmp_path, **SMALL)
    searched = [one for one in content["trials"] if one["baseline"] is None]
    for trial in searched:
        trial["logs"] = {"weight/dice": [0.5, 0.5005, 0.5], "loss": [3.0, 1.0, 0.5]}
    rewrite(tmp_path, content)
    told = html_report.figures.weights(read_finished(tmp_path))
    assert told.startswith(f"No weight moves in any of the {len(searched)} searched trials")
    searched[0]["logs"]["weight/dice"] = [0.5, 0.6, 0.7]
    rewrite(tmp_path, content)
    drawn = html_report.figures.weights(read_finished(tmp_path))
    assert "the best 1 of the 1 searched trials" in drawn.caption


def test_no_two_of_many_lines_look_alike():
    looks = [tuple(figures._look(place).values()) for place in range(18)]
    assert len(set(looks)) == 18


def test_the_running_best_counts_trials_that_ended_in_the_right_direction():
    from kerasloss_search.report.figures import _running_best

    class Axes:
        def step(self, numbers, values, **options):
            self.drawn = list(numbers), list(values)

    class Ended:
        outcome = "complete"

        def __init__(self, trial, validation, outcome="complete"):
            self.trial, self.validation, self.outcome = trial, validation, outcome

    axes = Axes()
    trials = [Ended(0, 5.0), Ended(1, 9.0), Ended(2, 0.1, "pruned"), Ended(3, 4.0), Ended(5, 6.0)]
    _running_best(axes, trials, Score("hd95", "HD95", False, "px"))
    assert axes.drawn == ([0, 1, 3, 5, 5], [5.0, 5.0, 4.0, 4.0, 4.0])
    _running_best(axes, trials, Score("dice", "Dice", True, ""))
    assert axes.drawn[1] == [5.0, 9.0, 9.0, 9.0, 9.0]


def test_scores_of_which_less_is_better_are_ranked_the_other_way(tmp_path, no_drawing):
    content = write_study(tmp_path, scores=(HD95, DICE), **SMALL)
    for place, final in enumerate(content["finals"]):
        final["validation"] = [float(place + 2), float(place)]
    rewrite(tmp_path, content)
    finished = read_finished(tmp_path)
    assert [one.validation_mean for one in finished.finals] == [
        place + 1.0 for place in range(len(content["finals"]))
    ]
    score = Score("hd95", "HD95", False, "px")
    values = [3.0, math.nan, 1.0, 2.0]
    assert sorted(range(4), key=lambda one: score.order(values[one])) == [2, 3, 0, 1]


def test_values_are_written_with_their_sign_and_never_as_zero_probability():
    score = Score("dice", "Dice", True, "")
    assert score.written(-0.01234, signed=True) == "−0.0123"
    assert score.written(0.5, signed=True) == "+0.5000"
    assert score.written(math.nan) == "–"
    assert probability(0.0002) == "< 0.001"
    assert probability(0.0456) == "0.046"
    assert probability(math.nan) == "–"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "There is no results.json"),
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"best_trial": 3}', "format 1"),
        ('{"format": 2}', "damaged"),
        ('{"format": 2, "scores": []}', "damaged"),
        ('{"format": 2, "scores": [{"name": "dice"}], "trials": [{"trial": "x"}]}', "damaged"),
    ],
)
def test_results_that_cannot_be_read_are_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path, no_drawing, monkeypatch):
    rewrite(tmp_path, {"format": 2, "scores": [DICE]})
    write_report(tmp_path)
    before = (tmp_path / "report.html").read_bytes()
    rewrite(tmp_path, {"format": 2, "scores": [DICE], "verdict": ["Something else."]})
    write = Path.write_bytes

    def full_disk(path, content):
        write(path, content[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_report(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    written = []

    def spy(path, content):
        written.append(path.name)
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", spy)
    write_report(tmp_path)
    # Under their own names files only ever appear, by being renamed.
    assert written and all(name.endswith(".tmp") for name in written)
    assert b"Something else." in (tmp_path / "report.html").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "report.html", "report"}


def test_the_embedded_pictures_are_those_of_the_images(two_scores, page):
    import base64

    folder = two_scores[0]
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    first = base64.b64decode(sources[0].partition(",")[2])
    with Image.open(io.BytesIO(first)) as picture:
        pixels = np.asarray(picture)
    data = Dataset.load_npz(folder / "data.npz")
    name = page.rows("images")[1][0].removeprefix("best")
    image = data.pixels(np.array([data.names.index(name)]))[0, ..., 0]
    scale = pixels.shape[0] // 24
    stretched = 255 * (image - image.min()) / (image.max() - image.min())
    np.testing.assert_allclose(pixels[::scale, ::scale, 0], stretched, atol=1)
    assert json.loads((folder / "results.json").read_text())["format"] == 2
