"""What the pages say: their Python is Python, their names exist, and the picture shows it."""

import importlib.util
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import kerasloss

# NumPy 2.4 warns about `np.array(variable)`, which Keras 3.15 itself calls.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
BLOCKS = {
    name: re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for name, text in TEXT.items()
}
LOSSES = [name for name in kerasloss.losses.__all__ if name[0].isupper()]


def readers_own():
    """What a page takes for granted: a model, its data, and the names of the modules."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    outputs = keras.layers.Conv2D(1, 1, activation="sigmoid")(inputs)
    x = np.random.default_rng(0).random((4, 8, 8, 1)).astype("float32")
    y = (x > 0.5).astype("float32")
    return {
        "keras": keras,
        "kerasloss": kerasloss,
        "model": keras.Model(inputs, outputs),
        **{name: x for name in ("x", "xv", "y_pred")},
        **{name: y for name in ("y", "yv", "y_true")},
        "pixel_weights": y[..., 0],
    }


@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if blocks])
def test_python_of_page_runs(page, tmp_path, monkeypatch):
    """All of its blocks, one after the other, as a reader would."""
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    kerasloss.save(kerasloss.Dice() + kerasloss.Focal(), "results/best_loss.json")
    names = readers_own()
    for number, block in enumerate(BLOCKS[page]):
        exec(compile(block, f"{page}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", TEXT)
def test_names_exist(page):
    """`kerasloss.X.y` is something, wherever it is written."""
    for path in set(re.findall(r"(?<![\w/.-])kerasloss((?:\.[A-Za-z_]\w*)+)", TEXT[page])):
        item = kerasloss
        for part in path.split(".")[1:]:
            assert hasattr(item, part), f"{page}: kerasloss{path}"
            item = getattr(item, part)


def test_pages_name_every_loss():
    """A loss that no guide mentions cannot be found."""
    for page in ("README.md", "docs/which_loss.md"):
        missing = [name for name in LOSSES if not re.search(rf"`{name}\b|\b{name}\(", TEXT[page])]
        assert [name for name in missing if name != "SegmentationLoss"] == [], page
    for item in kerasloss.__all__:
        if item[0].isupper():
            paths = rf"::: kerasloss\.(losses\.)?{item}\b"
            assert re.search(paths, TEXT["docs/api/losses.md"] + TEXT["docs/api/compound.md"]), item


@pytest.mark.parametrize("page", TEXT)
def test_links_between_pages(page):
    folder = (ROOT / page).parent
    links = re.findall(r"\]\(([^)#\s]+?)(?:#[^)]*)?\)", TEXT[page])
    missing = [link for link in links if "://" not in link and not (folder / link).exists()]
    assert missing == []


# ---- the picture in docs/which_loss.md ----------------------------------------------------------

ERRORS = ("wide", "joined", "false", "shifted", "narrow", "hole", "tiny", "cut", "unsure")
FALSE_ALARMS, MISSES = ERRORS[:3], ERRORS[4:8]


@pytest.fixture(scope="module")
def picture():
    path = ROOT / "docs" / "pictures" / "what_losses_reward.py"
    spec = importlib.util.spec_from_file_location("what_losses_reward", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def costs(picture):
    return picture.costs()


@pytest.fixture(scope="module")
def cost(picture, costs):
    """`cost[loss][error]` as in the picture."""
    rows = zip(picture.LOSSES, costs, strict=True)
    return {loss: dict(zip(ERRORS, row, strict=True)) for loss, row in rows}


@pytest.mark.once
def test_every_error_costs_cross_entropy_the_same(picture, cost):
    wrong = [((p > 0.5) != picture.truth()).sum() for p in picture.predictions().values()]
    assert wrong == [52] * 8 + [0]
    np.testing.assert_allclose(list(cost["CrossEntropy"].values()), 1, rtol=1e-4)


@pytest.mark.once
def test_overlap_does_not_see_where(cost):
    for loss in ("Dice", "IoU", "Lovasz"):
        assert all(0.975 < cost[loss][error] < 1.025 for error in ERRORS[:8])
    assert cost["Dice"]["unsure"] > 4.8 and cost["IoU"]["unsure"] > 4.8
    assert cost["Lovasz"]["unsure"] == pytest.approx(1, abs=0.01)


@pytest.mark.once
def test_some_losses_forgive_being_unsure(cost):
    assert all(cost[loss]["unsure"] < 0.11 for loss in ("Focal", "TopKCrossEntropy", "Asymmetric"))


@pytest.mark.once
def test_some_losses_are_about_misses(cost):
    for loss in ("WeightedCrossEntropy", "Asymmetric", "Tversky", "FocalTversky"):
        alarm, miss = ({round(cost[loss][error], 3) for error in e} for e in (FALSE_ALARMS, MISSES))
        assert len(alarm) == len(miss) == 1
        assert 1.75 < miss.pop() / alarm.pop() < 2.9
    assert cost["UnifiedFocal"]["hole"] / cost["UnifiedFocal"]["false"] == pytest.approx(1.25, 0.01)


@pytest.mark.once
def test_some_losses_see_where(cost):
    def worst(loss):
        return max(ERRORS[:8], key=cost[loss].get)

    assert worst("DistanceMap") == "narrow" and worst("CLDice") == "cut"
    assert worst("Boundary") == worst("Hausdorff") == "false"
    assert cost["DistanceMap"]["cut"] == pytest.approx(cost["DistanceMap"]["false"], rel=1e-3)
    assert cost["Hausdorff"]["wide"] < 0.04 and cost["Hausdorff"]["narrow"] < 0.04
    assert cost["Hausdorff"]["tiny"] > 2 and max(cost["Boundary"].values()) > 10
    assert cost["Boundary"]["cut"] < 0.3 and cost["Boundary"]["tiny"] < 0.35
    others = [cost["CLDice"][error] for error in ERRORS[:7]]
    assert cost["CLDice"]["cut"] > 4 * max(others)


@pytest.mark.once
def test_no_loss_punishes_joined_objects(cost):
    assert all(row["joined"] < 1.001 for row in cost.values())


@pytest.mark.once
def test_picture_can_be_drawn(picture, costs, tmp_path):
    pytest.importorskip("matplotlib")
    picture.draw(tmp_path / "picture.png", costs)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
