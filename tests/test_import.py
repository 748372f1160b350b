"""What `import kerasloss` brings along; its names have docstrings; their examples are true."""

import doctest
import inspect
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import kerasloss
from kerasloss import losses, metrics, ops, weighting

# NumPy 2.4 warns about `np.array(variable)`, which Keras 3.15 itself calls.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

IMPORTS = """
import json, sys
import keras
alone = set(sys.modules)
import kerasloss
print(json.dumps([sorted(alone), sorted(set(sys.modules) - alone)]))
"""

PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (kerasloss, losses, metrics, ops, weighting)
    for name in module.__all__
}
EXAMPLES = {
    name: item
    for name, item in PUBLIC.items()
    if callable(item) and (name.count(".") == 1 or name.startswith("kerasloss.metrics."))
} | {"kerasloss.weighting.DynamicMemoryFusion": weighting.DynamicMemoryFusion}

BASES = (losses.SegmentationLoss, metrics.SegmentationMetric)


@pytest.fixture(scope="module")
def modules():
    """The modules that `import keras` brings, and those that `import kerasloss` adds."""
    pytest.importorskip("jax")
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    output = subprocess.run(
        [sys.executable, "-c", IMPORTS], env=environment, capture_output=True, text=True, check=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def test_import_adds_only_itself(modules):
    """Beyond Keras it needs the standard library; no backend, no search, no image library."""
    _, added = modules
    foreign = [name for name in added if name.partition(".")[0] not in sys.stdlib_module_names]
    assert [name for name in foreign if name.partition(".")[0] != "kerasloss"] == []
    assert "kerasloss.compound" in foreign


def test_import_leaves_heavy_packages_alone(modules):
    alone, added = ({name.partition(".")[0] for name in names} for names in modules)
    tools = {"optuna", "mlflow", "kerasloss_search"}
    assert not (alone | added) & tools
    assert not added & {"PIL", "matplotlib", "rich", "tensorflow", "torch"}


def test_every_module_declares_its_names():
    for module in (kerasloss, losses, metrics, ops, weighting):
        assert len(set(module.__all__)) == len(module.__all__)
        missing = [name for name in module.__all__ if not hasattr(module, name)]
        assert missing == [], module.__name__
    assert set(losses.__all__) < set(kerasloss.__all__)


@pytest.mark.once
@pytest.mark.parametrize("name", PUBLIC)
def test_docstring(name):
    """Its own, not that of a base class; the first line is a sentence."""
    text = PUBLIC[name].__doc__
    assert text, name
    if inspect.isclass(PUBLIC[name]):
        assert text not in [base.__doc__ for base in PUBLIC[name].__mro__[1:]]
    assert text.split("\n")[0].strip().endswith(".")


@pytest.mark.once
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name):
    """Every example in its docstring and in those of its methods gives what it shows."""
    item = EXAMPLES[name]
    names = {"np": np, "keras": keras, "kerasloss": kerasloss}
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(item, name, globs=names):
        report = []
        runner.run(example, out=report.append)
        assert runner.failures == 0, "".join(report)
    if inspect.isclass(item) and item not in BASES and not issubclass(item, tuple):
        assert runner.tries > 0, f"{name} has no example"
