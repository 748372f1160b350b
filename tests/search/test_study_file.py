"""Study files: where a value stands, and what it means."""

from pathlib import Path

import pytest
from kerasloss_search.catalogue import Range
from kerasloss_search.settings.study_file import StudyFileError, _lines, read

TEXT = '''\
# a comment = 3
[data]
images = "a"   # [search]
"masks" = 'b'

[search]
terms = [
  "dice",  # trials = 3
  "focal",
]
seed = 1

[model]
name = "own.nets:net"
note = """
[final]
top = 3
"""
[terms]
tversky = {alpha = [0.1, 0.2]}
focal.gamma = 2
[terms."own.things:Loss"]
alpha = {low = 1, high = 10, log = true}
'''


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "study.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_lines():
    lines = _lines(TEXT)
    assert lines["data", "images"] == 3
    assert lines["data", "masks"] == 4
    assert lines["search",] == 6
    assert lines["search", "terms"] == 7
    assert lines["search", "seed"] == 11
    assert lines["model", "note"] == 15
    assert lines["terms", "tversky", "alpha"] == 20
    assert lines["terms", "focal", "gamma"] == 21
    assert lines["terms", "own.things:Loss", "alpha"] == 23
    assert ("final",) not in lines and ("search", "trials") not in lines


def test_read(file):
    path = file(TEXT)
    given = read(path)
    folder = path.parent
    assert given.values == {
        "data.images": folder / "a",
        "data.masks": folder / "b",
        "search.terms": ("dice", "focal"),
        "search.seed": 1,
        "model.name": "own.nets:net",
    }
    assert given.model_options == {"note": "[final]\ntop = 3\n"}
    assert given.terms == {
        "tversky": {"alpha": Range(0.1, 0.2)},
        "focal": {"gamma": 2.0},
        "own.things:Loss": {"alpha": Range(1.0, 10.0, log=True)},
    }
    assert given.base == folder


def test_dotted_keys_and_one_line_tables(file):
    given = read(file('search.trials = 9\ndata = {images = "a", size = 64}\n'))
    assert given.values["search.trials"] == 9 and given.values["data.size"] == 64
    with pytest.raises(StudyFileError, match=r"toml:2: \[data\] size"):
        read(file('search.trials = 9\ndata = {images = "a", size = 0}\n'))


@pytest.mark.parametrize("text", [b"\xef\xbb\xbf[search]\r\nseed = 4\r\n", b"[search]\nseed = 4"])
def test_files_of_other_editors(file, text):
    assert read(file(text)).values == {"search.seed": 4}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"[search]\r\nseed = 4\r\ntrials =\r\n", 3),
        (b"[search]\n# \xff\n", 2),
        (b"[search]\nseed = 1\n[search]\n", 3),
        (b"[search]\nterms = [\n'dice',\n", 4),
    ],
)
def test_lines_of_what_is_no_toml(file, text, line):
    with pytest.raises(StudyFileError, match=rf"study\.toml:{line}: "):
        read(file(text))


def test_paths(file, tmp_path):
    text = f"[data]\nimages = '../a'\nmasks = '{tmp_path}/m'\n[output]\nfolder = 'out'\n"
    text += "[tracking]\nuri = 'sqlite:///runs.db'\n"
    values = read(file(text)).values
    assert values["data.images"] == tmp_path / "../a"
    assert values["data.masks"] == tmp_path / "m"
    assert values["output.folder"] == tmp_path / "out"
    assert values["tracking.uri"] == f"sqlite:///{tmp_path}/runs.db"


def test_other_uris_stay(file):
    for uri in ("sqlite:////var/runs.db", "http://host:5000"):
        assert read(file(f"[tracking]\nuri = '{uri}'\n")).values["tracking.uri"] == uri


def test_sections_may_come_in_any_order(file):
    """The name of the model says which other keys are its own."""
    text = "[model]\nfilters = 3\nwidth = 'wide'\nname = 'nets:net'\n"
    assert read(file(text)).model_options == {"filters": 3, "width": "wide"}
    with pytest.raises(StudyFileError, match="filters"):
        read(file(text.replace("nets:net", "unet")))


def test_a_file_name_may_be_relative(file, monkeypatch):
    path = file("[data]\nimages = 'a'\n")
    monkeypatch.chdir(path.parent)
    given = read(Path("study.toml"))
    assert given.values["data.images"] == path.parent / "a"
