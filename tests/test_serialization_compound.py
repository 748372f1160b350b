"""Compounds survive being written down: configs, Keras objects, JSON files.

What `model.save` keeps of one is in `test_dynamic_weighting.py`.
"""

import json

import keras
import numpy as np
import pytest
from backend_tools import array
from test_compound import dynamic, full, static, train

import kerasloss

# NumPy 2.4 warns about `np.array(variable)`, which Keras 3.15 itself calls.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def by_config(loss, _):
    return kerasloss.Compound.from_config(loss.get_config())


def by_keras(loss, _):
    text = json.dumps(keras.saving.serialize_keras_object(loss))
    return keras.saving.deserialize_keras_object(json.loads(text))


def by_file(loss, folder):
    kerasloss.save(loss, folder / "loss.json")
    return kerasloss.load(folder / "loss.json")


@pytest.mark.parametrize("restore", [by_config, by_keras, by_file])
@pytest.mark.parametrize("make", [static, dynamic, full])
def test_round_trip(make, restore, tmp_path):
    loss = make(reduction="sum", name="mine") if make is not full else make()
    loss.assign(weights={"dice": 1.5}, dice={"smooth": 0.25})
    train(loss, 5)  # what was trained is not part of a config
    restored = restore(loss, tmp_path)
    assert type(restored) is kerasloss.Compound
    assert (restored.name, restored.reduction) == (loss.name, loss.reduction)
    assert type(restored.weighting) is type(loss.weighting)
    assert list(restored.terms) == ["focal", "dice"]
    loss.restart()
    assert restored.state is not loss.state
    np.testing.assert_array_equal(train(restored, 5), train(loss, 5))
    if make is full:
        config = restored.get_config()
        assert (config["auxiliary_scale"], config["auxiliary_decay"]) == (5.0, 0.5)


def test_file_holds_no_state(tmp_path):
    """Two losses from one file are two losses."""
    one, two = by_file(dynamic(), tmp_path), kerasloss.load(tmp_path / "loss.json")
    assert one.state.key != two.state.key
    train(one, 1)
    assert int(array(two.state.step.value)) == 0


def test_options_of_any_kind_survive(tmp_path):
    """Those that are no numbers, and variables of the user as the numbers they hold."""
    smooth = keras.Variable(2.5, dtype="float32")
    terms = {
        "dice": kerasloss.Dice(smooth=smooth, pool="batch", class_weight=(1.0, 3.0)),
        "ce": kerasloss.CrossEntropy(from_logits=True, ignore_class=255),
    }
    restored = by_file(kerasloss.Compound(terms), tmp_path)
    assert restored.terms["dice"].get_config()["smooth"] == 2.5
    assert restored.terms["dice"].pool == "batch"
    assert tuple(restored.terms["dice"].class_weight) == (1.0, 3.0)
    assert restored.terms["ce"].from_logits is True
    assert restored.terms["ce"].ignore_class == 255
    restored.assign(dice={"smooth": 4.0})
    assert float(array(smooth.value)) == 2.5
