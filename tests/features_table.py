"""Runs all of test_features.py on one backend, and writes what it saw into the documentation.

    KERAS_BACKEND=jax KERASLOSS_MATRIX=1 python tests/features_table.py jax

Not a test. Further arguments go to pytest (`-k own`); cells that did not run stay as they are.
"""

import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "weighting_features.md"
TITLES = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}
SHORT = {
    "Schedule": "Plan",
    "DynamicMemoryFusion": "DMF",
    "SoftAdapt": "SA",
    "DynamicWeightAverage": "DWA",
    "CoefficientOfVariation": "CoV",
    "ReLoBRaLo": "RLB",
    "RandomWeighting": "RLW",
    "GradientBalance": "GB",
    "Uncertainty": "UW",
}
INTRODUCTION = """# Strategies, backends, ways of training

Written by `make features`: every cell is a test that ran (`tests/test_features.py`) and passed (✓)
or failed (✗); in most, `History` must be that of a plain `fit`, number by number. An empty cell:
the backend has no such thing. How each is used: [Ways of training](training_loops.md).

"""
INTRODUCTION += ", ".join(f"{short}: `{name}`" for name, short in SHORT.items()) + ".\n"


class Seen:
    """Collects the outcome of every cell."""

    def __init__(self):
        self.cells = {}

    def pytest_runtest_logreport(self, report):
        found = re.search(r"test_way_of_training\[(.+)-(\w+)\]$", report.nodeid)
        if found and (report.when == "call" or report.failed):
            self.cells[found.groups()] = "✓" if report.passed else "✗"


def section(backend, cells):
    """One table: a row for each way, a column for each strategy."""
    from test_features import STRATEGIES, WAYS

    rows = [
        f"| {way} | " + " | ".join(cells.get((way, name), "") for name in STRATEGIES) + " |"
        for way in WAYS
    ]
    heads = [SHORT.get(name, name) for name in STRATEGIES]
    head = f"| | {' | '.join(heads)} |\n|---|{':-:|' * len(heads)}"
    return f"## {TITLES[backend]} {version(backend)}\n\n{head}\n" + "\n".join(rows) + "\n"


def former(table):
    """The cells of a table that was written before."""
    from test_features import STRATEGIES

    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return {
        (line[0], name): cell
        for line in lines[2:]
        for name, cell in zip(STRATEGIES, line[1:], strict=True)
    }


def main():
    backend = sys.argv[1]
    seen = Seen()
    # Not by `-m`: the cells that other cells speak for are wanted, too.
    failed = pytest.main(
        ["-q", "-p", "no:logging", "--no-header", str(HERE / "test_features.py"), *sys.argv[2:]],
        plugins=[seen],
    )
    sys.path.insert(0, str(HERE))
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    parts = dict(re.findall(r"^## (\w+) [^\n]*\n\n((?:\|[^\n]*\n)+)", old, re.MULTILINE))
    heads = dict(re.findall(r"^## ((\w+) [^\n]*)\n", old, re.MULTILINE))
    texts = []
    for name, title in TITLES.items():
        if name == backend:
            texts.append(section(backend, {**former(parts.get(title, "")), **seen.cells}))
        elif title in parts:
            head = next(head for head, first in heads.items() if first == title)
            texts.append(f"## {head}\n\n{parts[title]}")
    PAGE.write_text("\n".join([INTRODUCTION, *texts]), encoding="utf-8")
    sys.exit(failed)


if __name__ == "__main__":
    main()
