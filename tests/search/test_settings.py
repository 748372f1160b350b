"""The table of settings, and what follows from it: study files, the docs, the losses' options."""

import inspect
import re
import tomllib
from pathlib import Path

import pytest
from kerasloss_search.catalogue import TERMS, Range
from kerasloss_search.data import DataOptions
from kerasloss_search.settings import study_file, template
from kerasloss_search.settings import table as settings
from kerasloss_search.settings.accepted import ACCEPTED
from kerasloss_search.settings.assembly import options_of
from kerasloss_search.settings.kinds import Duration, Folder, Limits, Names, Whole, Word
from kerasloss_search.settings.options import Options
from kerasloss_search.settings.study_file import Given, StudyFileError
from kerasloss_search.settings.table import SETTINGS
from kerasloss_search.settings.wording import Wrong, nearest

import kerasloss

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date():
    """`python -m kerasloss_search.settings.table` prints what belongs there."""
    page = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
    assert settings.reference_table() in page


def test_the_example_of_the_page_is_sound(tmp_path):
    page = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "study.toml").write_text(example)
    options = options_of(study_file.read(tmp_path / "study.toml"))
    own = options.space.terms["mylab.losses:Rim"]
    assert own.ranges == {"width": Range(0.5, 8.0, log=True)} and own.fixed == {"sides": "both"}


def test_the_defaults_are_those_of_the_options():
    values = {"data.images": Path("a"), "data.masks": Path("b")}
    plain = Options(DataOptions(Path("a"), Path("b")), Path("results"))
    assert options_of(Given(values)) == plain


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.path)
def test_a_row(setting):
    assert setting.section in settings.SECTIONS
    assert setting.option.startswith("--") and setting.help
    # What `init` shows has to be read as it is meant.
    shown = tomllib.loads(f"value = {setting.written}")["value"]
    checked = setting.kind.check(shown)
    if setting.default is not None:
        assert checked == setting.default
    else:
        assert setting.unset, "what holds without it"


@pytest.mark.parametrize(
    ("path", "text"),
    [("search.time", "1h30min"), ("search.auxiliary", "none"), ("search.auxiliary", "dice")],
)
def test_what_an_option_says_can_be_written_into_a_file(path, text, tmp_path):
    value = settings.find(path).kind.parse(text)
    (tmp_path / "study.toml").write_text(template.render({path: value}, None))
    assert study_file.read(tmp_path / "study.toml").values[path] == value


def test_no_two_options_and_keys_are_equal():
    assert len({setting.option for setting in SETTINGS}) == len(SETTINGS)
    assert len({setting.path for setting in SETTINGS}) == len(SETTINGS)


def test_a_template_uncommented_gives_the_defaults(tmp_path):
    """Every line of the template is right: it is read with the examples of what has no default."""
    lines = template.render({}, None).splitlines()
    settings_only = [
        line.removeprefix("# ")
        for line in lines
        if line.startswith("[") or any(line.startswith(f"# {one.key} =") for one in SETTINGS)
    ]
    (tmp_path / "study.toml").write_text("\n".join(settings_only))
    given = study_file.read(tmp_path / "study.toml")
    assert set(given.values) == {setting.path for setting in SETTINGS}
    for setting in SETTINGS:
        if setting.default is not None and setting.path != "output.folder":
            assert given.values[setting.path] == setting.default


def test_a_template_as_it_is_says_nothing(tmp_path):
    (tmp_path / "study.toml").write_text(template.render({}, None))
    given = study_file.read(tmp_path / "study.toml")
    assert not given.values and not given.terms


def test_a_template_keeps_what_is_given(tmp_path):
    values = {
        "data.group": r"a\d+'b",
        "search.terms": ("dice", "own.things:Loss"),
        "search.learning-rate": Range(1e-4, 1e-2, log=True),
        "search.pruning": False,
        "data.validation": 0.25,
    }
    (tmp_path / "study.toml").write_text(template.render(values, None))
    assert study_file.read(tmp_path / "study.toml").values == values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90min", 5400), ("2h", 7200), ("1d", 86400), ("1h30min", 5400), ("0.5 h", 1800), ("45s", 45)],
)
def test_durations(text, seconds):
    assert Duration().check(text) == seconds


@pytest.mark.parametrize("value", ["", "h", "90", "2 weeks", "-1h", "1h 30", 90, None, "0s", "1.h"])
def test_what_is_no_duration(value):
    with pytest.raises(Wrong, match="90min"):
        Duration().check(value)


def test_kinds_tell_true_from_one():
    with pytest.raises(Wrong, match="received true"):
        Whole().check(True)
    with pytest.raises(Wrong):
        Limits().check([True, 2])
    assert Word(("a",), optional=True).check(False) is None
    with pytest.raises(Wrong):
        Word(("a",)).check(False)


def test_numbers_of_numpy_are_numbers():
    numpy = pytest.importorskip("numpy")
    assert Whole().check(numpy.int64(3)) == 3
    assert Limits().check([numpy.float32(0.5), 2]) == Range(0.5, 2.0)


def test_the_home_of_a_user_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("~/res", Path("~/res")):
        assert Folder().check(value) == tmp_path / "res"
    assert Folder().parse("~") == tmp_path
    assert Folder().check("a~/~b") == Path("a~/~b")
    (tmp_path / "study.toml").write_text("[output]\nfolder = '~/res'\n")
    given = study_file.read(tmp_path / "study.toml")
    assert given.values["output.folder"] == tmp_path / "res"
    with pytest.raises(Wrong, match="name of a user"):
        Folder().check("~nobody-has-that-name/x")


def test_names():
    names = Names(("dice", "focal"), dotted=True)
    assert names.parse(" dice , own.things:Loss ,") == ("dice", "own.things:Loss")
    with pytest.raises(Wrong, match="own.things"):
        names.check(["own.things"])
    with pytest.raises(Wrong, match="at least one"):
        names.parse("")


@pytest.mark.parametrize(
    ("name", "found"),
    [("Dise", "dice"), ("cb-dice", "cb_dice"), ("CB_DICE", "cb_dice"), ("zzz", None), (3, None)],
)
def test_nearest(name, found):
    assert nearest(name, ["dice", "cb_dice", "focal"]) == found


# What the search sets itself, what it takes no part in, and what needs data that it has not.
NOT_OFFERED = {"from_logits", "class_weight", "ignore_class", "reduction", "name", "dtype"}
NOT_OFFERED |= {"precomputed"}
PROBES = (-2.0, -1.0, -0.5, 0.0, 1e-6, 0.5, 1.0, 1.000001, 7.0, 3, True, False)
PROBES += ("image", "batch", "object", "surface", "volume", "neither")


@pytest.mark.once
@pytest.mark.parametrize("term", TERMS)
def test_what_a_loss_accepts_is_told_right(term):
    loss = type(kerasloss.get(term))
    parameters = set(inspect.signature(loss).parameters) - NOT_OFFERED
    assert set(ACCEPTED[term]) == parameters
    for option, accepted in ACCEPTED[term].items():
        assert accepted.tunable == (option in loss.tunable), option
        for value in PROBES:
            try:
                loss(**{option: value})
            except ValueError:
                taken = False
            else:
                taken = True
            assert accepted.takes(value) == taken, (option, value)
    # What the catalogue searches by itself has to be possible, too.
    for option, limits in TERMS[term].ranges.items():
        assert ACCEPTED[term][option].takes(limits.low) and ACCEPTED[term][option].takes(
            limits.high
        )


def test_a_mapping_is_checked_like_a_file():
    given = study_file.read_mapping({"search": {"trials": 9, "terms": ["dice", "iou"]}})
    assert given.values == {"search.trials": 9, "search.terms": ("dice", "iou")}
    with pytest.raises(
        StudyFileError, match=r"study: \[search\] trails: .*did you mean \"trials\""
    ):
        study_file.read_mapping({"search": {"trails": 9}})
