"""Losses survive being written down: configs, `.keras` files, JSON files, and hyper-parameters.

Every comparison is with what was passed. Comparing one config with another cannot see an argument
that both have lost.
"""

import json

import cases
import keras
import numpy as np
import pytest
from backend_tools import array, float64
from cases import COMPARED, LOSSES, Case, some_on_each

import kerasloss

# Keras turns variables into NumPy with np.array(tensor), which NumPy 2 answers with a warning.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)


def unusual_arguments(loss):
    """Every argument at a value that is not its default."""
    hyper = dict(cases.other_values(loss))
    assert set(hyper) == set(cases.hyper_parameters(loss)) - cases.FORM_OF_TARGET
    common = {
        "from_logits": True,
        "class_weight": (1.0, 2.0, 4.0),
        "ignore_class": 255,
        "reduction": "sum",
        "name": "mine",
        "dtype": "float16",
    }
    return hyper | common


def check_config(loss, passed):
    """`loss` has what was passed, by its config and by its behaviour."""
    config = loss.get_config()
    for name, value in passed.items():
        stored = config[name]
        if name == "class_weight":
            stored = tuple(stored)
        elif name == "dtype":
            stored = loss.dtype
        assert stored == value, f"{name}: passed {value!r}, config has {config[name]!r}"
    json.dumps(keras.saving.serialize_keras_object(loss))  # text, not objects


# ---- configs ------------------------------------------------------------------------------------


@pytest.mark.once
@every_loss
def test_config_holds_every_argument(loss):
    passed = unusual_arguments(loss)
    original = loss(**passed)
    check_config(original, passed)
    check_config(loss.from_config(original.get_config()), passed)


@pytest.mark.once
@every_loss
def test_default_config_round_trip(loss):
    passed = cases.hyper_parameters(loss) | {
        "from_logits": False,
        "ignore_class": None,
        "reduction": "sum_over_batch_size",
        "name": cases.twin_name(loss),
        "dtype": "float32",
    }
    restored = loss.from_config(loss().get_config())
    check_config(restored, passed)
    assert restored.get_config()["class_weight"] is None


@pytest.mark.once
@every_loss
def test_keras_serialization(loss):
    passed = unusual_arguments(loss)
    text = json.dumps(keras.saving.serialize_keras_object(loss(**passed)))
    restored = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(restored) is loss
    check_config(restored, passed)


@pytest.mark.once
@every_loss
def test_restored_loss_has_the_same_value(loss):
    passed = unusual_arguments(loss) | {"dtype": "float32"}
    y_true, y_pred, weight = Case(3, weight="pixel", options=passed).data(seed=50)
    original = loss(**passed)
    restored = loss.from_config(original.get_config())
    expected = array(original(y_true, y_pred, weight))
    np.testing.assert_array_equal(array(restored(y_true, y_pred, weight)), expected)


@some_on_each(LOSSES)
def test_keras_file(loss, tmp_path):
    """A model trained with the loss loads without custom objects, and with the same loss."""
    passed = dict(cases.other_values(loss)) | {"class_weight": (1.0, 2.0, 4.0), "ignore_class": 255}
    y_true, _, _ = Case(3, options=passed).data(seed=51)
    x = np.random.default_rng(51).random((*y_true.shape, 1), "float32")
    model = keras.Sequential(
        [keras.Input((8, 7, 1)), keras.layers.Conv2D(3, 1, activation="softmax")]
    )
    model.compile("sgd", loss=loss(**passed))
    history = model.fit(x, y_true, epochs=1, batch_size=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is loss
    check_config(loaded.loss, passed)
    expected = array(model.loss(y_true, model(x)))
    np.testing.assert_allclose(array(loaded.loss(y_true, loaded(x))), expected, rtol=1e-5)


# ---- names and JSON files -----------------------------------------------------------------------


@pytest.mark.once
@every_loss
def test_get_by_name(loss):
    y_true, y_pred, _ = Case(3).data(seed=52)
    expected = array(loss()(y_true, y_pred))
    for name in (loss.__name__, cases.twin_name(loss)):
        found = kerasloss.get(name)
        np.testing.assert_allclose(array(found(y_true, y_pred)).mean(), expected, rtol=1e-6)
    assert isinstance(kerasloss.get(loss.__name__), loss)


def test_get_of_unknown_name():
    with pytest.raises(ValueError, match=r"'dise'\. Did you mean 'Dice'\?"):
        kerasloss.get("dise")
    with pytest.raises(ValueError, match=r"Received: 'xyz'\.$"):
        kerasloss.get("xyz")


@pytest.mark.once
@every_loss
@pytest.mark.parametrize("path_type", [str, lambda path: path], ids=["str", "Path"])
def test_json_file(loss, path_type, tmp_path):
    passed = unusual_arguments(loss)
    path = path_type(tmp_path / "loss.json")
    kerasloss.save(loss(**passed), path)
    json.loads((tmp_path / "loss.json").read_text())
    restored = kerasloss.load(path)
    assert type(restored) is loss
    check_config(restored, passed)


def other_class(text):
    return text.replace('"Dice"', '"NoSuchLoss"').replace(">Dice", ">NoSuchLoss")


def layer(_):
    return json.dumps(keras.saving.serialize_keras_object(keras.layers.Dense(1)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "\x00\xff binary",
        lambda text: "{}",
        lambda text: "[1, 2]",
        lambda text: "3",
        lambda text: '"dice"',
        lambda text: "null",
        other_class,
        layer,
        lambda text: text.replace('"smooth"', '"smoothing"'),
        lambda text: text.replace('"pool": "image"', '"pool": "class"'),
    ],
    ids=[
        "empty file", "cut off", "not text", "empty object", "list", "number", "string", "null",
        "unknown class", "not a loss", "unknown argument", "bad argument",
    ],
)  # fmt: skip
def test_malformed_file_is_refused_by_name(spoil, tmp_path):
    path = tmp_path / "broken.json"
    kerasloss.save(kerasloss.Dice(), path)
    good = path.read_text()
    bad = spoil(good)
    assert bad != good, "the file's text is no longer what this test spoils"
    path.write_text(bad, encoding="latin-1")
    with pytest.raises(ValueError, match="broken.json"):
        kerasloss.load(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises((FileNotFoundError, ValueError), match="nowhere.json"):
        kerasloss.load(tmp_path / "nowhere.json")


# ---- dtype --------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize(("dtype", "rtol"), [("float16", 5e-3), ("float32", 1e-5)])
def test_dtype_of_the_output(loss, dtype, rtol):
    y_true, y_pred, _ = Case(3, options={"ignore_class": 255}).data(seed=53)
    expected = array(loss(ignore_class=255)(y_true, y_pred))
    for reduction in ("mean", "none"):
        value = loss(dtype=dtype, reduction=reduction, ignore_class=255)(y_true, y_pred)
        assert keras.backend.standardize_dtype(value.dtype) == dtype
        np.testing.assert_allclose(array(value).mean(), expected, rtol=rtol)


@pytest.mark.parametrize("loss", COMPARED, ids=lambda loss: loss.__name__)
def test_dtype_float64(loss):
    y_true, y_pred, weight = Case(3, weight="pixel").data(seed=54)
    y_pred = y_pred.astype("float64")
    with float64():
        value = array(loss(dtype="float64", reduction="none")(y_true, y_pred, weight))
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, cases.reference(loss)(y_true, y_pred, weight), rtol=1e-6)


# ---- hyper-parameters that change ---------------------------------------------------------------

NUMBERS = [
    (loss, name, value)
    for loss in COMPARED
    for name, value in cases.other_values(loss)
    if isinstance(value, float) and value > 0
]


@pytest.mark.parametrize(
    ("loss", "name", "value"), NUMBERS, ids=lambda item: getattr(item, "__name__", str(item))
)
def test_hyper_parameter_as_variable(loss, name, value):
    """Assigning to it changes the value of the object that holds it; the config has the number."""
    y_true, y_pred, _ = Case(3).data(seed=55)
    variable = keras.Variable(0.9, dtype="float32", trainable=False)
    instance = loss(**{name: variable}, reduction="none")
    for number in (0.9, value):
        variable.assign(number)
        expected = cases.reference(loss)(y_true, y_pred, **{name: number})
        np.testing.assert_allclose(array(instance(y_true, y_pred)), expected, rtol=1e-5)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(instance)))
    restored = keras.saving.deserialize_keras_object(config)
    np.testing.assert_allclose(array(restored(y_true, y_pred)), expected, rtol=1e-5)
