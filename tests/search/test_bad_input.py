"""Mistakes of users: exit code 2, a line that names the place and the remedy, nothing written."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from kerasloss_search import cli, data
from kerasloss_search.space import Space
from kerasloss_search.study import Study
from kerasloss_search.synthetic import write_micrographs
from PIL import Image

OWN = """
import keras
import kerasloss

def net(shape, channels, *, filters=8):
    raise AssertionError("nothing is built before the search")

def narrow(shape):
    raise AssertionError("nothing is built before the search")

class Plain:
    pass

class NoLogits(kerasloss.losses.SegmentationLoss):
    def __init__(self, *, sharpness):
        super().__init__()

class Needy(kerasloss.losses.SegmentationLoss):
    def __init__(self, *, sharpness, from_logits=False):
        super().__init__()

class Learning(kerasloss.weighting.Weighting):
    learns = True

made = kerasloss.Dice()

@keras.saving.register_keras_serializable()
class Own(kerasloss.Dice):
    pass

class Unknown(kerasloss.Dice):
    pass

number = 3
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_micrographs(folder, count=12, size=32, foreground=0.1)
    return folder


@pytest.fixture
def workplace(tmp_path, monkeypatch, pictures):
    """A folder with a sound data set, sound modules, and Python looking there."""
    shutil.copytree(pictures, tmp_path, dirs_exist_ok=True)
    (tmp_path / "own_things.py").write_text(OWN)
    (tmp_path / "broken_things.py").write_text("def net(:\n")
    (tmp_path / "failing_things.py").write_text("raise RuntimeError('no licence\\nfound')\n")
    (tmp_path / "ending_things.py").write_text("import sys\nsys.exit('no arguments')\n")
    (tmp_path / "needy_things.py").write_text("import a_package_that_nobody_has\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])

    # Workers read what it writes: a case that gets so far has found nothing wrong.
    def train(*arguments):
        raise AssertionError("the search was about to begin")

    monkeypatch.setattr(data.Dataset, "save", train)
    return tmp_path


def picture(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, "uint8")).save(path)


def no_masks(folder):
    shutil.rmtree(folder / "masks")
    (folder / "masks").mkdir()


def all_black(folder):
    for file in (folder / "masks").iterdir():
        picture(file, np.zeros((32, 32)))


def many_values(folder):
    picture(folder / "masks/micrograph_00_0.png", np.full((32, 32), 7))


def keep(folder, count):
    for part in ("images", "masks"):
        for file in sorted((folder / part).iterdir())[count:]:
            file.unlink()


def other_study(folder):
    """The output folder holds a search with other settings, as the search itself leaves it."""
    (folder / "out").mkdir()
    (folder / "out" / ".lock").touch()
    study = Study(folder / "out", Space(), identity={"seed": 5}, epochs=3, seed=5)
    study._study._storage.remove_session()


# name: (options after those of a sound command, words of the message, what is done before)
OPTIONS = {
    "unknown option": (["--trails", "9"], ["--trails", "did you mean --trials", "run --help"]),
    "option of another command": (["--port", "9"], ["--port: there is no such option"]),
    "no such backend": (["--backend", "theano"], ["--backend", "tensorflow, jax, torch"]),
    "backend mistyped": (["--backend", "tensorflwo"], ['did you mean "tensorflow"']),
    "trials below baselines": (["--trials", "5"], ["--trials", "at least 6", "plain losses"]),
    "trials no number": (["--trials", "many"], ["--trials", "whole number >= 1", "many"]),
    "trials zero": (["--trials", "0"], ["--trials", ">= 1", "received 0"]),
    "epochs of a half": (["--epochs", "2.5"], ["--epochs", "whole number", "2.5"]),
    "negative seed": (["--seed", "-1"], ["--seed", "from 0"]),
    "seed too large for Keras": (["--seed", str(2**31)], ["--seed", "2147483647"]),
    "batch size zero": (["--batch-size", "0"], ["--batch-size", ">= 1"]),
    "time without unit": (["--time", "90"], ["--time", "90min", "received"]),
    "time in words": (["--time", "soon"], ["--time", "2h", "soon"]),
    "time of nothing": (["--time", "0h"], ["--time", "longer than 0"]),
    "score mistyped": (["--scores", "dise"], ["--scores", 'did you mean "dice"']),
    "time alone": (["--scores", "time"], ["--scores", "dice,time"]),
    "time first": (["--scores", "time,dice"], ["--scores", "dice,time"]),
    "score twice": (["--scores", "dice,dice"], ["--scores", "once"]),
    "term mistyped": (["--terms", "dice,focl"], ["--terms", "focl", 'did you mean "focal"']),
    "term unlike any": (["--terms", "dice,zzz"], ["--terms", "zzz", "tversky", "module:Name"]),
    "one term": (["--terms", "dice"], ["--terms", "at least two"]),
    "more at once than terms": (
        ["--terms", "dice,iou", "--max-terms", "3"],
        ["--max-terms", "at most 2", "received 3"],
    ),
    "strategy mistyped": (["--strategies", "static,relobrallo"], ['did you mean "relobralo"']),
    "strategies without static": (["--strategies", "var"], ["--strategies", "static", "add it"]),
    "optimiser mistyped": (["--optimizers", "adma"], ["--optimizers", 'did you mean "adam"']),
    "auxiliary mistyped": (["--auxiliary", "cb_dise"], ["--auxiliary", 'did you mean "cb_dice"']),
    "learning rates upside down": (
        ["--learning-rate", "0.01,0.001"],
        ["--learning-rate", "LOW < HIGH", "0.01,0.001"],
    ),
    "learning rate of zero": (["--learning-rate", "0,0.1"], ["--learning-rate", "0 < LOW"]),
    "one learning rate": (
        ["--learning-rate", "0.001"],
        ["--learning-rate: expected LOW,HIGH with", 'received "0.001"'],
    ),
    "one weight": (["--weights", "0.5"], ["--weights", "LOW,HIGH"]),
    "validation of everything": (["--validation", "1"], ["--validation", "below 1"]),
    "nothing left to train on": (
        ["--validation", "0.5", "--test", "0.5"],
        ["--validation", "--test", "lower them"],
    ),
    "group is no regular expression": (["--group", "("], ["--group", "regular expression"]),
    "group matches nothing": (["--group", "cell"], ["--group", "cell", "adapt it"]),
    "two groups": (["--group", "micrograph_0(0)?"], ["--group", "more groups"]),
    "crop as large as the image": (["--crop", "32"], ["--crop", "less than --size", "32"]),
    "size not divisible": (["--size", "20"], ["--size", "divisible by 8", "20"]),
    "crop not divisible": (["--crop", "12"], ["--crop", "divisible by 8", "12"]),
    "depth too large": (["--depth", "6"], ["--size", "divisible by 64"]),
    "more folds than images": (["--folds", "11"], ["--folds", "images", "received 11"]),
    "more folds than groups": (
        ["--group", r"micrograph_\d+", "--folds", "3"],
        ["--folds", "at most 2", "groups"],
    ),
    "no final seeds": (["--final-seeds", "0"], ["--final-seeds", ">= 1"]),
    "classes of one": (["--classes", "1"], ["--classes", "from 2"]),
    "pattern without stem": (["--mask-pattern", "*_mask"], ["--mask-pattern", "{stem}"]),
    "tracking in a folder": (["--tracking-uri", "runs"], ["--tracking-uri", "sqlite:///", "runs"]),
    "tracking without server": (["--tracking-uri", "http://"], ["--tracking-uri", "server"]),
    "model without colon": (["--model", "nets"], ["--model", "package.module:function", "nets"]),
    "model of no module": (["--model", "no_such:net"], ["--model", "no_such", "correct the name"]),
    "model of no submodule": (["--model", "own_things.x:net"], ["--model", "own_things"]),
    "model of no function": (
        ["--model", "own_things:nett"],
        ["--model", "own_things", "did you mean 'net'"],
    ),
    "model that is a number": (["--model", "own_things:number"], ["--model", "function", "int"]),
    "model of one argument": (["--model", "own_things:narrow"], ["--model", "output_channels"]),
    "model with an unknown argument": (
        ["--model", "own_things:net", "--model-option", "width=3"],
        ["--model", "width"],
    ),
    "model with a syntax error": (["--model", "broken_things:net"], ["--model", "SyntaxError"]),
    "model whose module fails": (
        ["--model", "failing_things:net"],
        ["--model", "no licence found", "correct that file"],
    ),
    "model whose module ends": (
        ["--model", "ending_things:net"],
        ["--model", "SystemExit: no arguments", "correct that file"],
    ),
    "model that needs a package": (
        ["--model", "needy_things:net"],
        ["--model", "a_package_that_nobody_has", "install it"],
    ),
    "argument that the U-Net has not": (
        ["--model-option", "withd=8"],
        ["--model-option", 'did you mean "width"'],
    ),
    "nothing for a model's argument": (
        ["--model", "own_things:net", "--model-option", "filters=None"],
        ["--model-option filters", "true or false", "leave it away", '"None"'],
    ),
    "list for a model's argument": (
        ["--model", "own_things:net", "--model-option", "filters=[8, 16]"],
        ["--model-option filters", "a single value", '"[8, 16]"'],
    ),
    "argument without a value": (
        ["--model", "own_things:net", "--model-option", "filters"],
        ["--model-option", "NAME=VALUE", '"filters"'],
    ),
    "own loss of no module": (["--terms", "dice,no_such:Own"], ["--terms", "no_such"]),
    "own loss of no class": (["--terms", "dice,own_things:Owm"], ["did you mean 'Own'"]),
    "own loss that is none": (
        ["--terms", "dice,own_things:Plain"],
        ["--terms", "own_things:Plain", "SegmentationLoss"],
    ),
    "own loss that is made already": (
        ["--terms", "dice,own_things:made"],
        ["--terms", "own_things:made", "function"],
    ),
    "own loss that takes no logits": (
        ["--terms", "dice,own_things:NoLogits", "--term-option", "own_things:NoLogits.sharpness=2"],
        ["own_things:NoLogits", "from_logits"],
    ),
    "own loss that needs a value": (
        ["--terms", "dice,own_things:Needy"],
        ["own_things:Needy", "sharpness", "default"],
    ),
    "own loss that Keras does not know": (
        ["--terms", "dice,own_things:Unknown"],
        ["--terms", "own_things:Unknown", "register_keras_serializable"],
    ),
    "own strategy that learns": (
        ["--strategies", "static,own_things:Learning"],
        ["--strategies", "own_things:Learning", "learns", "take it out"],
    ),
    "own strategy that is none": (
        ["--strategies", "static,own_things:Own"],
        ["--strategies", "own_things:Own", "Weighting"],
    ),
    "option that the own loss has not": (
        ["--terms", "dice,own_things:Own", "--term-option", "own_things:Own.smoth=2"],
        ["own_things:Own", "did you mean 'smooth'"],
    ),
    "option of a term not chosen": (
        ["--terms", "dice,iou", "--term-option", "focal.gamma=1,2"],
        ["--term-option", "focal", "--terms"],
    ),
    "option of no term": (["--term-option", "gamma=1,2"], ["--term-option", "NAME.OPTION"]),
    "option out of range": (
        ["--term-option", "focal.gamma=-1"],
        ["--term-option focal.gamma", "number >= 0", "-1"],
    ),
    "option's range upside down": (
        ["--term-option", "focal.gamma=4,1"],
        ["--term-option focal.gamma", "LOW < HIGH", '"4,1"'],
    ),
    "option's range of three": (
        ["--term-option", "focal.gamma=1,2,3"],
        ["--term-option focal.gamma", "LOW,HIGH,log", '"1,2,3"'],
    ),
    "option's range of words": (
        ["--term-option", "focal.gamma=[a,b]"],
        ["--term-option focal.gamma", "LOW,HIGH", '"[a,b]"'],
    ),
    "option's range outside of its limits": (
        ["--term-option", "focal.alpha=0.5,1.5"],
        ["--term-option focal.alpha", "<= 1", '"0.5,1.5"'],
    ),
    "option's logarithm of zero": (
        ["--term-option", "focal.gamma=0,1,log"],
        ["--term-option focal.gamma", "LOW > 0", "logarithmic"],
    ),
    "nothing for an option": (
        ["--term-option", "dice.squared=None"],
        ["--term-option dice.squared", "leave it away"],
    ),
    "option mistyped": (["--term-option", "focal.gama=2"], ['did you mean "gamma"']),
    "range where there is a word": (
        ["--term-option", "dice.pool=1,2"],
        ["--term-option", "image", "no range"],
    ),
    "output is a file": (["--output", "own_things.py"], ["--output", "is a file", "folder"]),
    "output is the study file": (
        ["--output", "my.toml"],
        ["--output: expected the folder", "my.toml", "--output-file"],
    ),
    "output of no user": (["--output", "~nobody-has-that-name/x"], ["--output", "user"]),
    "list with spaces": (
        ["--scores", "dice", "hd95"],
        ["STUDY.toml: hd95 cannot be read (No such file", "dice,hd95", "--no-pruning"],
    ),
    "flag with a value": (
        ["--pruning", "false"],
        ["STUDY.toml: false cannot be read (No such file", "--no-pruning"],
    ),
    "output below a file": (["--output", "own_things.py/out"], ["--output", "own_things.py"]),
    "output among the images": (["--output", "images/out"], ["--output", "--images", "another"]),
    "no image folder": (["--images", "pics"], ["pics", "not a folder", "--images"]),
    "no mask folder": (["--masks", "labels"], ["labels", "not a folder", "--masks"]),
    "images are the masks": (["--masks", "images"], ["same folder", "--mask-pattern"]),
    "no study file": (["nothing.toml"], ["nothing.toml", "cannot be read"]),
    "study file is a folder": (["images"], ["images", "cannot be read"]),
}

DATA = {
    "no masks": (no_masks, ["masks", "holds no masks"]),
    "image is no picture": (
        lambda folder: (folder / "images/micrograph_00_1.png").write_bytes(b"no picture"),
        ["micrograph_00_1.png"],
    ),
    "image cut short": (
        lambda folder: (folder / "images/micrograph_00_1.png").write_bytes(
            (folder / "images/micrograph_00_1.png").read_bytes()[:200]
        ),
        ["micrograph_00_1.png"],
    ),
    "mask of another size": (
        lambda folder: picture(folder / "masks/micrograph_00_2.png", np.zeros((8, 16))),
        ["micrograph_00_2.png", "16 x 8", "32 x 32", "same size"],
    ),
    "image without mask": (
        lambda folder: (folder / "masks/micrograph_00_3.png").unlink(),
        ["micrograph_00_3.png", "has no mask", "add it or remove the image"],
    ),
    "mask without image": (
        lambda folder: (folder / "images/micrograph_00_3.png").unlink(),
        ["micrograph_00_3.png", "has no image", "add it or remove the mask"],
    ),
    "two images": (lambda folder: keep(folder, 2), ["2 images", "too few", "add images"]),
    "masks all empty": (all_black, ["masks", "empty", "draw the objects"]),
    "mask with other values": (many_values, ["micrograph_00_0.png"]),
    "another study in the folder": (other_study, ["seed", "was 5", "--output"]),
}

FILES = {
    "syntax": ("[search\ntrials = 9", ["study.toml:1:", "no valid TOML"]),
    "key twice": ("[search]\nseed = 1\nseed = 2\n", ["study.toml:3:", "Cannot overwrite"]),
    "string left open": ('[data]\nimages = "images\n', ["study.toml:2:", "no valid TOML"]),
    "unknown section": ("[serch]\n", ["study.toml:1: [serch]", 'did you mean "search"']),
    "key outside of a section": ("trials = 9\n", ["study.toml:1:", "belongs below [search]"]),
    "unknown key": (
        "[search]\ntrials = 9\ntrails = 8\n",
        ["study.toml:3: [search] trails", 'did you mean "trials"'],
    ),
    "key of another section": (
        "[search]\n\nepochs = 3\n",
        ["study.toml:3: [search] epochs", "belongs below [training]"],
    ),
    "text for a number": ('[training]\nepochs = "9"\n', ["study.toml:2: [training] epochs", '"9"']),
    "number for a text": ("[data]\nimages = 3\n", ["study.toml:2: [data] images", "path"]),
    "number for a flag": ("[search]\npruning = 1\n", ["study.toml:2:", "true or false", "1"]),
    "true for a number": ("[search]\nseed = true\n", ["study.toml:2:", "whole number", "true"]),
    "number too large for anything": (f"[data]\nsize = {'9' * 400}\n", ["study.toml:2:", "8192"]),
    "infinite rate": ("[search]\nlearning-rate = [1e-4, inf]\n", ["study.toml:2:", "high", "inf"]),
    "text for a list": ('[search]\nterms = "dice"\n', ["study.toml:2:", "list of names"]),
    "name in a long list": (
        '[search]\nterms = [\n  "dice",\n  "ioo",\n]\nseed = 1\n',
        ["study.toml:2: [search] terms", 'did you mean "iou"'],
    ),
    "true for the auxiliary term": ("[search]\nauxiliary = true\n", ["study.toml:2:", "or false"]),
    "range upside down": (
        "[terms.focal]\ngamma = [3, 1]\n",
        ["study.toml:2: [terms.focal] gamma", "low < high", "[3, 1]"],
    ),
    "logarithm of zero": (
        "[terms.focal]\ngamma = {low = 0, high = 1, log = true}\n",
        ["study.toml:2: [terms.focal] gamma", "low > 0", "logarithmic"],
    ),
    "range with a wrong key": (
        "[terms.focal]\ngamma = {low = 1, hihg = 2}\n",
        ["study.toml:2:", 'did you mean "high"'],
    ),
    "range of three": ("[terms.focal]\ngamma = [1, 2, 3]\n", ["study.toml:2:", "[low, high]"]),
    "value that the loss refuses": (
        "[terms.top_k_cross_entropy]\nfraction = 1.5\n",
        ["study.toml:2: [terms.top_k_cross_entropy] fraction", "<= 1", "1.5"],
    ),
    "range that the loss refuses": (
        "[terms.focal]\nalpha = [0.5, 1.5]\n",
        ["study.toml:2: [terms.focal] alpha", "<= 1"],
    ),
    "option that the loss has not": (
        "[terms.focal]\ngama = 2\n",
        ["study.toml:2: [terms.focal] gama", 'did you mean "gamma"'],
    ),
    "term that there is not": (
        "[terms.tverski]\n",
        ["study.toml:1: [terms.tverski]", 'did you mean "tversky"'],
    ),
    "term that is not chosen": (
        '[search]\nterms = ["dice", "iou"]\n[terms.focal]\ngamma = 2\n',
        ["study.toml:3: [terms.focal]", "[search] terms"],
    ),
    "argument that the U-Net has not": (
        "[model]\nwidht = 8\n",
        ["study.toml:2: [model] widht", 'did you mean "width"'],
    ),
    "list for a model's argument": (
        '[model]\nname = "own_things:net"\nfilters = [1]\n',
        ["study.toml:3: [model] filters"],
    ),
}

# What is found only when settings are taken together: the file is told with its line as well.
DATA_OF_FILE = '[data]\nimages = "images"\nmasks = "masks"\n'
LATER = {
    "trials below baselines": (
        "size = 32\n[search]\ntrials = 3\n",
        "study.toml:6: [search] trials: expected at least 6",
    ),
    "size not divisible": ("size = 30\n", "study.toml:4: [data] size: expected a number divisible"),
    "crop not divisible": (
        "size = 32\n[training]\ncrop = 12\n",
        "study.toml:6: [training] crop: expected a number divisible by 8",
    ),
    "crop as large as the image": (
        "size = 32\n[training]\ncrop = 32\n",
        "study.toml:6: [training] crop: expected less than --size ([data] size), 32, received 32",
    ),
    "depth too large": (
        "[model]\ndepth = 8\n",
        "study.toml:5: [model] depth: --size ([data] size): expected a number divisible by 256",
    ),
    "nothing left to train on": (
        "validation = 0.5\ntest = 0.6\n",
        "study.toml:4: [data] validation: expected a sum with --test ([data] test) below 1",
    ),
    "test of nearly everything": (
        "test = 0.9\n",
        "study.toml:4: [data] test: --validation ([data] validation): expected a sum",
    ),
    "time first": (
        'size = 32\n[search]\nscores = ["time", "dice"]\n',
        "study.toml:6: [search] scores: expected a score of images first",
    ),
    "tracking in a folder": (
        'size = 32\n[tracking]\nuri = "runs"\n',
        "study.toml:6: [tracking] uri: The tracking URI must be",
    ),
    "more folds than images": (
        "size = 32\n[training]\nfolds = 12\n",
        "study.toml:6: [training] folds: expected at most",
    ),
    "output among the images": (
        '[output]\nfolder = "images/out"\n',
        "study.toml:5: [output] folder: ",
    ),
    "model of no module": (
        '[model]\nname = "no_such:net"\n',
        "study.toml:5: [model] name: there is no module",
    ),
    "own loss of no module": (
        '[search]\nterms = ["dice", "no_such:Own"]\n',
        "study.toml:5: [search] terms: there is no module",
    ),
    "option that the own loss has not": (
        '[search]\nterms = ["dice", "own_things:Own"]\n[terms."own_things:Own"]\nsmoth = 2\n',
        'study.toml:6: [terms."own_things:Own"]: expected an argument of Own',
    ),
}


def snapshot(folder):
    """Names and contents of all files; what SQLite keeps beside a database has no content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        if path.is_file() and path.suffix != ".db-shm"
        else None
        for path in Path(folder).rglob("*")
    }


def failure(capsys, arguments):
    """What a command says that must not succeed."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    assert code == 2, printed
    assert "Traceback" not in printed.err + printed.out
    assert printed.err.strip(), "nothing is said"
    return printed.err


def check(capsys, folder, arguments, words):
    before = snapshot(folder)
    error = failure(capsys, arguments)
    for word in words:
        assert word in error
    assert all(len(line) < 500 for line in error.splitlines())
    assert snapshot(folder) == before, "something was written"
    return error


SOUND = ["--images", "images", "--masks", "masks", "--size", "32", "--trials", "6"]


@pytest.mark.parametrize(("options", "words"), OPTIONS.values(), ids=OPTIONS)
def test_options(capsys, workplace, options, words):
    error = check(capsys, workplace, ["run", *SOUND, "--output", "out", *options], words)
    assert len(error.splitlines()) == 1 or "in the data" in error


@pytest.mark.parametrize(("damage", "words"), DATA.values(), ids=DATA)
def test_data(capsys, workplace, damage, words):
    damage(workplace)
    check(capsys, workplace, ["run", *SOUND, "--output", "out"], words)


@pytest.mark.parametrize(("text", "words"), FILES.values(), ids=FILES)
def test_files(capsys, workplace, text, words):
    (workplace / "study.toml").write_text(text)
    error = check(capsys, workplace, ["run", "study.toml", *SOUND, "--output", "out"], words)
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(("text", "beginning"), LATER.values(), ids=LATER)
def test_files_are_named_for_what_is_found_later(capsys, workplace, text, beginning):
    (workplace / "study.toml").write_text(DATA_OF_FILE + text)
    error = check(capsys, workplace, ["run", "study.toml"], [])
    assert error.startswith(beginning) and len(error.splitlines()) == 1


def test_an_option_over_a_file_is_named_itself(capsys, workplace):
    (workplace / "study.toml").write_text(f"{DATA_OF_FILE}size = 32\n[search]\ntrials = 9\n")
    error = check(capsys, workplace, ["run", "study.toml", "--trials", "3"], [])
    assert error.startswith("kerasloss-search: --trials ([search] trials): expected at least 6")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["COMMAND"]),
        (["rum"], ["rum", "did you mean run"]),
        (["run"], ["--images", "give it"]),
        (["run", "--images", "images"], ["--masks", "--mask-pattern"]),
        (["demo", "--foreground", "0.9", "--output", "out"], ["--foreground", "0.005 to 0.5"]),
        (["demo", "--trials", "3", "--output", "out"], ["--trials", "at least 6"]),
        (["demo", "--size", "60", "--output", "out"], ["--size", "divisible by 8"]),
        (["demo", "--images", "3", "--output", "out"], ["--images", "at least 9", "received 3"]),
        (["demo", "--images", "8", "--output", "out"], ["--images", "at least 9", "received 8"]),
        (["demo", "--size", "8", "--output", "out"], ["--size", "at least 16", "received 8"]),
        (["demo", "--folds", "99", "--output", "out"], ["--folds", "micrographs", "received 99"]),
        (["init", "--output-file", "own_things.py"], ["own_things.py", "--force"]),
        (["init", "--output-file", "images", "--force"], ["images", "is a folder"]),
        (["init", "--output-file", "no/study.toml"], ["--output-file", "no", "make it first"]),
        (["init", "--term-option", "focal.gama=1"], ["--term-option focal.gama", '"gamma"']),
        (["init", "--model-option", "widht=8"], ["--model-option", 'did you mean "width"']),
        (["init", "--terms", "dice,iou", "--max-terms", "3"], ["--max-terms", "at most 2"]),
        (["init", "--output", "my.toml"], ["--output", "my.toml", "--output-file"]),
        (["demo", "--output", "my.toml"], ["--output", "my.toml"]),
        (["init", "--images", "pics", "--masks", "masks"], ["pics", "not a folder"]),
        (["ui", "--output", "nowhere"], ["nowhere"]),
        (["ui", "--port", "none"], ["--port", "none"]),
        (
            ["ui", "nowhere", "extra"],
            ["kerasloss-search ui: takes no further argument", "'extra'", "search ui --help"],
        ),
        (
            ["run", "study.toml", "extra"],
            ["kerasloss-search run: takes no further argument", "'extra'"],
        ),
        (
            ["report", "--outptu", "out"],
            ["--outptu: there is no such option; did you mean --output?", "search report --help"],
        ),
        (["report", "--trials", "9"], ["--trials: there is no such option (`"]),
        (["report"], ["there are no results in results"]),
        (["report", "--output", "out"], ["there are no results in out"]),
        (["report", "out", "--output", "other"], ["FOLDER and --output", "out and other"]),
        (["repeat", "out"], ["finished search", "out"]),
        (["repeat", "--output", "out"], ["finished search", "out"]),
        (["repeat", "--trial", "best"], ["--trial", "best"]),
        (["sync", "out"], ["--output", "no record of a search", "out"]),
        (["sync"], ["--output: there is no record of a search in results"]),
        (["sync", "out", "--output", "other"], ["FOLDER and --output", "leave one away"]),
        (["sync", "--output", ""], ["--output", "path of a folder"]),
        (["ui", "nowhere"], ["nowhere"]),
        (["demo", "--pruning=false"], ["--pruning: expected no value", "--no-pruning"]),
    ],
    ids=" ".join,
)
def test_other_commands(capsys, workplace, arguments, words):
    check(capsys, workplace, arguments, words)


def test_the_sound_command_begins(workplace):
    """Else every case above could fail for another reason than its own."""
    with pytest.raises(AssertionError, match="about to begin"):
        cli.main(["run", *SOUND, "--output", "out"])


def test_an_own_model_begins(workplace):
    (workplace / "study.toml").write_text('[model]\nname = "own_things:net"\nfilters = 4\n')
    with pytest.raises(AssertionError, match="about to begin"):
        cli.main(["run", "study.toml", *SOUND, "--output", "out"])


def test_all_problems_of_a_file_are_told_at_once(capsys, workplace):
    (workplace / "study.toml").write_text(
        '[data]\nimages = 3\n\n[search]\ntime = "soon"\ntrails = 4\n[terms.focal]\ngamma = [2, 1]\n'
    )
    error = failure(capsys, ["run", "study.toml"])
    found = [line.split(": ")[0] for line in error.splitlines()]
    assert found == ["study.toml:2", "study.toml:5", "study.toml:6", "study.toml:8"]


def test_all_problems_of_the_data_are_told_at_once(capsys, workplace):
    for damage in (DATA["image is no picture"], DATA["mask of another size"]):
        damage[0](workplace)
    error = failure(capsys, ["run", *SOUND, "--output", "out"])
    assert "2 problems" in error
    assert "micrograph_00_1.png" in error and "micrograph_00_2.png" in error


def test_a_fault_of_ours_is_no_mistake_of_the_user(workplace, monkeypatch):
    def fail(*arguments, **options):
        raise KeyError("a fault")

    monkeypatch.setattr(data, "load", fail)
    with pytest.raises(KeyError):
        cli.main(["run", *SOUND, "--output", "out"])
