"""`kerasloss.Multilabel`: each channel as the one sigmoid channel that its loss knows."""

import json

import keras
import numpy as np
import pytest
from backend_tools import array, grad, jit
from cases import LOSSES, Case, some_on_each
from keras import ops
from training import convolution

import kerasloss

# NumPy 2.4 warns about `np.array(variable)`, which Keras 3.15 itself calls.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)


def data(channels=3, weight=None, seed=90, **options):
    """Channels that overlap: each is drawn by itself."""
    parts = [
        Case(1, target="labels1", weight=weight, options=options).data(seed=seed + channel)
        for channel in range(channels)
    ]
    y_true, y_pred = (np.concatenate([part[i] for part in parts], axis=-1) for i in (0, 1))
    return y_true, y_pred, parts[0][2]


def channel(parts, index):
    y_true, y_pred, weight = parts
    return y_true[..., index], y_pred[..., index : index + 1], weight


def check(actual, expected, rtol=1e-5):
    np.testing.assert_allclose(array(actual), expected, rtol=rtol, atol=1e-6)


@pytest.mark.once
@every_loss
@pytest.mark.parametrize("weight", [None, "image", "pixel"])
def test_value_is_the_mean_over_the_channels(loss, weight):
    parts = data(weight=weight)
    each = [array(loss()(*channel(parts, index))) for index in range(3)]
    check(kerasloss.Multilabel(loss())(*parts), np.mean(each))


@pytest.mark.parametrize(
    "options",
    [
        {"from_logits": True},
        {"class_weight": (1.0, 3.0)},
        {"pool": "batch", "smooth": 0.0},
        {"ignore_class": 255},
        {"ignore_class": 0},
    ],
    ids=str,
)
def test_options_are_those_of_the_inner_loss(options):
    inner = kerasloss.Dice(**options)
    parts = data(weight="pixel", **options)
    each = [array(inner(*channel(parts, index))) for index in range(3)]
    check(kerasloss.Multilabel(inner)(*parts), np.mean(each))


def test_class_weight():
    parts = data(weight="image")
    each = [array(kerasloss.Dice()(*channel(parts, index))) for index in range(3)]
    for weights in [(1.0, 2.0, 5.0), (0.0, 1.0, 1.0), np.array([0, 0, 3])]:
        loss = kerasloss.Multilabel(kerasloss.Dice(), class_weight=weights)
        check(loss(*parts), np.average(each, weights=weights))


@every_loss
def test_one_channel_is_the_loss_itself(loss):
    parts = data(channels=1, weight="pixel", ignore_class=255)
    expected = array(loss(ignore_class=255)(*channel(parts, 0)))
    check(kerasloss.Multilabel(loss(ignore_class=255))(*parts), expected)


@pytest.mark.parametrize("reduction", ["sum", "none", "mean"])
def test_reduction(reduction):
    y_true, y_pred, weight = data(weight="image")
    each = [array(kerasloss.dice(*channel((y_true, y_pred, None), i)[:2])) for i in range(3)]
    expected = np.mean(each, axis=0)
    loss = kerasloss.Multilabel(kerasloss.Dice(), reduction=reduction)
    if reduction != "none":
        expected = (weight * expected).sum() / (1 if reduction == "sum" else weight.sum())
    check(loss(y_true, y_pred, weight), expected)


def test_image_labelled_for_some_channels_only():
    """What was not labelled neither counts nor dilutes what was."""
    y_true, y_pred, _ = data()
    y_true[0, ..., 1:] = 255
    y_true[1, ..., 0] = 255
    loss = kerasloss.Multilabel(kerasloss.Dice(ignore_class=255), reduction="none")
    one = [array(kerasloss.dice(*channel((y_true, y_pred, None), i)[:2])) for i in range(3)]
    check(loss(y_true, y_pred), [one[0][0], (one[1][1] + one[2][1]) / 2])
    y_true[1] = 255
    loss = kerasloss.Multilabel(kerasloss.Dice(ignore_class=255))
    check(loss(y_true, y_pred), one[0][0])
    gradient = grad(lambda p: loss(y_true, p), y_pred)
    assert np.all(gradient[1] == 0) and np.all(gradient[0, ..., 1:] == 0)
    assert np.any(gradient[0, ..., 0] != 0)
    check(loss(np.full_like(y_true, 255), y_pred), 0.0)


@some_on_each(LOSSES)
def test_compiled(loss):
    parts = [ops.convert_to_tensor(part) for part in data(weight="pixel", ignore_class=255)]
    instance = kerasloss.Multilabel(loss(ignore_class=255), class_weight=(1.0, 2.0, 3.0))
    check(jit(lambda *inputs: instance(*inputs))(*parts), array(instance(*parts)))


def test_training_and_keras_file(tmp_path):
    y_true, _, _ = data()
    x = np.random.default_rng(91).random((*y_true.shape[:-1], 1), "float32")
    loss = kerasloss.Multilabel(kerasloss.Tversky(alpha=0.4), class_weight=(1.0, 2.0, 0.0))
    model = keras.Sequential([keras.Input((8, 7, 1)), convolution(3, "sigmoid")])
    model.compile("sgd", loss=loss)
    assert np.isfinite(model.fit(x, y_true, verbose=0).history["loss"]).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").loss
    assert type(loaded) is kerasloss.Multilabel and loaded.name == "multilabel_tversky"
    assert loaded.loss.get_config()["alpha"] == 0.4
    np.testing.assert_array_equal(array(loaded(*data())), array(loss(*data())))


def test_json_file(tmp_path):
    options = {"class_weight": [1.0, 2.0, 4.0], "reduction": "sum", "name": "x", "dtype": "float16"}
    loss = kerasloss.Multilabel(kerasloss.Focal(gamma=3.0, from_logits=True), **options)
    kerasloss.save(loss, tmp_path / "loss.json")
    config = kerasloss.load(tmp_path / "loss.json").get_config()
    assert {name: config[name] for name in options} == options
    assert config["loss"]["config"]["gamma"] == 3.0
    json.dumps(config)


# ---- as a term ----------------------------------------------------------------------------------


def compound():
    return kerasloss.Compound(
        {
            "overlap": kerasloss.Multilabel(kerasloss.Dice(), class_weight=(1.0, 2.0, 3.0)),
            "focal": kerasloss.Multilabel(kerasloss.Focal()),
        }
    )


def test_options_are_in_reach_of_a_compound():
    parts, loss = data(), compound()
    loss.assign(overlap={"smooth": 7.0}, focal={"gamma": 0.5})
    overlap = kerasloss.Multilabel(kerasloss.Dice(smooth=7.0), class_weight=(1.0, 2.0, 3.0))
    focal = kerasloss.Multilabel(kerasloss.Focal(gamma=0.5))
    check(loss(*parts), (array(overlap(*parts)) + array(focal(*parts))) / 2)
    for change in ({"smooth": -1.0}, {"gamma": 1.0}, {"class_weight": 1.0}):
        with pytest.raises(ValueError):
            loss.assign(overlap=change)


def test_compound_holds_copies():
    dice = kerasloss.Dice()
    wrapped = kerasloss.Multilabel(dice)
    loss = kerasloss.Compound({"a": wrapped, "b": wrapped})
    loss.assign(a={"smooth": 50.0})
    assert dice.smooth == 1.0
    assert loss.get_config()["terms"]["b"]["config"]["loss"]["config"]["smooth"] == 1.0


def test_variable_of_the_user_reaches_into_a_compound():
    smooth = keras.Variable(1.0, dtype="float32", trainable=False)
    loss = kerasloss.Compound({"a": kerasloss.Multilabel(kerasloss.Dice(smooth=smooth))})
    smooth.assign(9.0)
    expected = kerasloss.Multilabel(kerasloss.Dice(smooth=9.0))(*data())
    check(loss(*data()), array(expected))


def test_sum_of_multilabel_losses(tmp_path):
    loss = kerasloss.Multilabel(kerasloss.Dice()) + 2 * kerasloss.Multilabel(kerasloss.Focal())
    assert list(loss.terms) == ["multilabel_dice", "multilabel_focal"]
    loss.assign(multilabel_focal={"gamma": 1.0})
    kerasloss.save(loss, tmp_path / "loss.json")
    restored = kerasloss.load(tmp_path / "loss.json")
    np.testing.assert_array_equal(array(restored(*data())), array(loss(*data())))


def test_sum_of_a_compound_shares_nothing_with_it():
    loss = compound()
    double = 2 * loss
    before = array(double(*data()))
    loss.assign(overlap={"smooth": 70.0})
    np.testing.assert_array_equal(array(double(*data())), before)


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        kerasloss.Dice,
        kerasloss.dice,
        "dice",
        None,
        keras.losses.MeanSquaredError(),
        kerasloss.Dice() + kerasloss.Focal(),
        kerasloss.Multilabel(kerasloss.Dice()),
    ],
    ids=str,
)
def test_bad_loss(loss):
    with pytest.raises(ValueError, match="Multilabel"):
        kerasloss.Multilabel(loss)


@pytest.mark.parametrize("weights", [(1.0,), (0.0, 0.0, 0.0), (1.0, -1.0, 1.0), 3.0, (1.0, 1.0)])
def test_bad_class_weight(weights):
    with pytest.raises(ValueError, match="class_weight"):
        kerasloss.Multilabel(kerasloss.Dice(), class_weight=weights)(*data())


def test_labels_are_refused():
    y_true, y_pred, _ = data()
    for labels in (y_true[..., 0], y_true[..., :1], y_true[..., :2]):
        with pytest.raises(ValueError, match="y_true") as error:
            kerasloss.Multilabel(kerasloss.Dice())(labels, y_pred)
        assert str(labels.shape) in str(error.value)
