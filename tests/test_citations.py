"""`kerasloss.citation`: a paper for every loss, and BibTeX that holds together."""

import re

import pytest
from cases import LOSSES, twin_name

import kerasloss
from kerasloss import citations, weighting
from kerasloss.weighting import DynamicMemoryFusion

pytestmark = pytest.mark.once

ENTRY = re.compile(r"@(\w+)\{(\w+),\n((?:  \w+ = \{.+\},\n)+)\}")


def keys(text):
    return [match[1] for match in ENTRY.findall(text)]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_every_loss_has_a_paper(loss):
    assert loss.__name__ in citations._CITED, "add a line to kerasloss/citations.py"
    text = kerasloss.citation(loss())
    assert keys(text) == list(citations._CITED[loss.__name__])
    for other in (loss, loss.__name__, twin_name(loss)):
        assert kerasloss.citation(other) == text


def test_every_entry_is_whole():
    papers = citations._papers()
    assert {key for cited in citations._CITED.values() for key in cited} == set(papers)
    for key, text in papers.items():
        found = ENTRY.fullmatch(text)
        assert found and found[2] == key, text
        fields = dict(re.findall(r"  (\w+) = \{(.+)\},", found[3]))
        assert {"author", "title", "year"} < set(fields), key
        assert re.fullmatch(r"(19|20)\d\d", fields["year"]) and key.endswith(fields["year"])
        home = {"article": "journal", "inproceedings": "booktitle", "misc": "eprint"}[found[1]]
        assert home in fields, key
        assert ("eprint" in fields) == ("archiveprefix" in fields), key
        assert text.count("{") == text.count("}"), key
        assert text.isascii(), key


def test_compound_cites_all_its_parts_once():
    loss = kerasloss.Compound(
        {"a": kerasloss.Dice(), "b": kerasloss.Focal(), "c": kerasloss.Dice(smooth=0.0)},
        weighting=DynamicMemoryFusion(),
        auxiliary=kerasloss.IoU(),
    )
    expected = ["golnari2026", "milletari2016", "lin2017", "rahman2016", "vanbeers2019"]
    assert keys(kerasloss.citation(loss)) == expected
    assert keys(kerasloss.citation(kerasloss.Dice() + kerasloss.CLDice())) == [
        "milletari2016",
        "shit2021",
    ]


def test_wrappers_cite_what_they_wrap():
    dice = kerasloss.citation("dice")
    assert kerasloss.citation(kerasloss.Multilabel(kerasloss.Dice())) == dice
    supervision = kerasloss.DeepSupervision(kerasloss.Dice() + kerasloss.Focal())
    expected = ["lee2015", "isensee2021", "milletari2016", "lin2017"]
    assert keys(kerasloss.citation(supervision)) == expected
    levels = supervision.for_outputs(2)
    for part in (levels[1], levels, {"full": levels[0], "half": levels[1]}):
        assert keys(kerasloss.citation(part)) == ["milletari2016", "lin2017"]


def test_decaying_term_has_a_paper_of_its_own():
    loss = kerasloss.Compound({"a": kerasloss.Dice()}, auxiliary=kerasloss.Dice())
    assert keys(kerasloss.citation(loss)) == ["golnari2026", "milletari2016"]


PUBLISHED = [
    name
    for name in weighting.__all__
    if name not in ("LogVariances", "Seen", "Weighting", "Static", "Schedule")  # nobody's
]


@pytest.mark.parametrize("name", PUBLISHED)
def test_strategy(name):
    assert keys(kerasloss.citation(getattr(weighting, name)())) == list(citations._CITED[name])


def test_loss_of_the_user():
    class Mine(kerasloss.Dice):
        pass

    class Other(kerasloss.Dice):
        reference = "@misc{other2020,\n  title = {Other},\n}\n"

    class Unpublished(kerasloss.losses.SegmentationLoss):
        pass

    assert kerasloss.citation(Mine) == kerasloss.citation("Dice")
    assert kerasloss.citation(Other()) == Other.reference.strip()
    with pytest.raises(ValueError, match="reference"):
        kerasloss.citation(Unpublished)


@pytest.mark.parametrize(
    "loss", ["DiceLoss", None, 3, int, kerasloss.dice, kerasloss, [], ["dice", None]], ids=str
)
def test_what_is_no_loss(loss):
    with pytest.raises(ValueError):
        kerasloss.citation(loss)
