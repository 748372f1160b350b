"""The papers behind the losses, as BibTeX."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import keras

from kerasloss import _check
from kerasloss.compound import Compound
from kerasloss.losses.base import SegmentationLoss
from kerasloss.multilabel import Multilabel
from kerasloss.saving import get
from kerasloss.supervision import AtResolution, DeepSupervision
from kerasloss.weighting import Weighting

# For each class name the keys in citations.bib. A class without a line has that of its base.
_CITED: dict[str, tuple[str, ...]] = {
    "AdaptiveFocal": ("islam2024",),
    "Asymmetric": ("ridnik2021",),
    "Boundary": ("kervadec2019",),
    "CBDice": ("golnari2026",),
    "CLDice": ("shit2021",),
    "CoefficientOfVariation": ("groenendijk2021",),
    "CrossEntropy": ("good1952",),
    "DeepSupervision": ("lee2015", "isensee2021"),
    "Dice": ("milletari2016",),
    "DistanceMap": ("agarwal2023", "caliva2019"),
    "DynamicMemoryFusion": ("golnari2026",),
    "DynamicWeightAverage": ("liu2019",),
    "Exponential": ("roshan2024",),
    "Focal": ("lin2017",),
    "FocalTversky": ("abraham2019",),
    "GeneralizedDice": ("sudre2017",),
    "GradientBalance": ("chen2018",),
    "Hausdorff": ("karimi2020",),
    "IoU": ("rahman2016", "vanbeers2019"),
    "JaccardDistance": ("yuan2017",),
    "LogCoshDice": ("jadon2020",),
    "Lovasz": ("berman2018",),
    "MCC": ("abhishek2021",),
    "Poly": ("leng2022",),
    "RandomWeighting": ("lin2022",),
    "ReLoBRaLo": ("bischof2021",),
    "SoftAdapt": ("heydari2019",),
    "TopKCrossEntropy": ("wu2016",),
    "Tversky": ("salehi2017",),
    "Uncertainty": ("kendall2018",),
    "UnifiedFocal": ("yeung2022",),
    "WeightedCrossEntropy": ("agarwal2023",),
}


def citation(loss: Any) -> str:
    """Returns the papers to cite for a loss, as BibTeX.

    Args:
        loss: a loss, its class, or its name as in `kerasloss.get`; a weighting strategy; a
            `DeepSupervision`; or several of them, as in `model.loss`. A `Compound` gives the papers
            of all its terms and of its strategy, a wrapper those of what it wraps.

    Returns:
        One BibTeX entry a paper, each once, an empty line between two.

    Raises:
        ValueError: if there is no such loss, or none of it has a paper. A loss of your own gives
            its BibTeX by a class attribute `reference`.

    Example:

    >>> print(kerasloss.citation("cross_entropy"))
    @article{good1952,
      author = {Good, I. J.},
      title = {Rational Decisions},
      journal = {Journal of the Royal Statistical Society: Series B},
      year = {1952},
      volume = {14},
      pages = {107--114},
    }
    """
    entries: list[str] = []
    for part in keras.tree.flatten(loss):
        part = get(part) if isinstance(part, str) else part
        kind = part if isinstance(part, type) else type(part)
        if not issubclass(kind, (SegmentationLoss, Weighting, DeepSupervision)):
            raise _check.error("citation", "a kerasloss loss, its class or its name", repr(part))
        entries += _entries(part)
    if not entries:
        raise _check.error(
            "citation",
            "a loss with a paper",
            repr(loss),
            "A class of your own has its BibTeX in the class attribute `reference`.",
        )
    return "\n\n".join(dict.fromkeys(entries))


def _entries(loss: Any) -> list[str]:
    """The BibTeX entries of a loss or strategy and of all its parts, some perhaps twice."""
    kind = loss if isinstance(loss, type) else type(loss)
    entries = [loss.reference.strip()] if getattr(loss, "reference", "") else []
    if not entries:
        names = [base.__name__ for base in kind.__mro__ if base.__name__ in _CITED]
        entries = [_papers()[key] for key in _CITED[names[0]]] if names else []
    parts: list[Any] = []
    if isinstance(loss, Compound):
        parts = [*loss.terms.values(), loss.weighting, loss.auxiliary]
        if loss.auxiliary is not None:
            entries = [_papers()["golnari2026"]]  # a term that decays is theirs
    elif isinstance(loss, (Multilabel, AtResolution, DeepSupervision)):
        parts = [loss.loss]
    for part in parts:
        entries += _entries(part)
    return entries


@functools.cache
def _papers() -> dict[str, str]:
    """Key to entry of everything in `citations.bib`, where entries are parted by empty lines."""
    text = resources.files("kerasloss").joinpath("citations.bib").read_text(encoding="utf-8")
    entries = text.strip().split("\n\n")
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in entries}
