"""Deep supervision: labels at the resolution of each output, and training with several of them."""

import keras
import numpy as np
import pytest
from backend_tools import array, grad, jit
from cases import LOSSES, Case
from keras import ops
from training import Record, convolution

import kerasloss
from kerasloss.ops.resize import nearest
from kerasloss.weighting import DynamicMemoryFusion

# NumPy 2.4 warns about `np.array(variable)`, which Keras 3.15 itself calls.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RNG = np.random.default_rng(100)
X = RNG.random((8, 8, 8, 1)).astype("float32")
Y = (X > 0.6).astype("float32")


def model(structure=list, space=(8, 8)):
    """Predicts at the resolution of the input and at half of it."""
    inputs = keras.Input((*space, 1))
    full = convolution(1, "sigmoid", name="full")(inputs)
    half = convolution(1, "sigmoid", name="half", strides=2)(inputs)
    outputs = [full, half] if structure is list else {"a": full, "b": half}
    return keras.Model(inputs, outputs)


def compiled(loss, structure=list, **options):
    net = model(structure)
    net.compile("sgd", loss=kerasloss.DeepSupervision(loss, **options).for_outputs(net))
    return net


def fit(net, y=None, x=X, **options):
    options = {"batch_size": 4, "shuffle": False, "verbose": 0} | options
    history = net.fit(x, [Y, Y] if y is None else y, **options).history
    return {name: [float(value) for value in values] for name, values in history.items()}


def halved(image):
    """The pixel that holds the centre of a 2x2 block; of the four that touch it, the last."""
    return image[:, 1::2, 1::2]


# ---- picking ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool", "float32"])
@pytest.mark.parametrize(
    ("old", "new", "index"),
    [
        (8, 4, [1, 3, 5, 7]),
        (9, 3, [1, 4, 7]),
        (6, 6, range(6)),
        (7, 3, [1, 3, 5]),
        (5, 2, [1, 3]),
        (3, 6, [0, 0, 1, 1, 2, 2]),
        (4, 1, [2]),
    ],
)
def test_nearest(old, new, index, dtype):
    line = np.random.default_rng(old).integers(0, 200, (2, old)).astype(dtype)
    picked = nearest(ops.convert_to_tensor(line), [new])
    assert keras.backend.standardize_dtype(picked.dtype) == dtype
    np.testing.assert_array_equal(array(picked), line[:, list(index)])


def test_nearest_of_volumes_and_channels():
    volume = np.random.default_rng(1).random((2, 4, 6, 9, 3)).astype("float32")
    picked = array(nearest(ops.convert_to_tensor(volume), [2, 2, 3]))
    np.testing.assert_array_equal(picked, volume[:, 1::2, 1::3, 1::3])


@pytest.mark.once
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("target", ["labels", "labels1", "one_hot"])
@pytest.mark.parametrize("weight", [None, "image", "pixel", "pixel1"])
def test_value_is_that_of_the_picked_target(loss, target, weight):
    y_true, y_pred, sample_weight = Case(3, (8, 6), target, weight).data(seed=101)
    y_pred = y_pred[:, ::2, ::2]
    picked = sample_weight if weight in (None, "image") else halved(sample_weight)
    expected = array(loss()(halved(y_true), y_pred, picked))
    actual = kerasloss.AtResolution(loss(), weight=0.5)(y_true, y_pred, sample_weight)
    np.testing.assert_allclose(array(actual), 0.5 * expected, rtol=1e-6)


def test_same_resolution_is_the_loss_itself():
    y_true, y_pred, weight = Case(3, weight="pixel").data(seed=102)
    expected = array(kerasloss.Dice()(y_true, y_pred, weight))
    actual = kerasloss.AtResolution(kerasloss.Dice())(y_true, y_pred, weight)
    np.testing.assert_array_equal(array(actual), expected)


def test_compiled_and_gradient():
    y_true, y_pred, weight = Case(1, (8, 6, 4), weight="pixel").data(seed=103)
    y_pred = y_pred[:, ::2, ::2, ::2]
    loss = kerasloss.AtResolution(kerasloss.Dice(), weight=0.25)
    inputs = [ops.convert_to_tensor(item) for item in (y_true, y_pred, weight)]
    expected = array(loss(*inputs))
    np.testing.assert_allclose(array(jit(lambda *i: loss(*i))(*inputs)), expected, rtol=1e-6)
    gradient = grad(lambda p: loss(y_true, p, weight), y_pred)
    np.testing.assert_array_equal(gradient[..., 0] != 0, weight[:, 1::2, 1::2, 1::2] != 0)


def test_as_a_term():
    """In a sum with a loss of the same output, each counts as by itself."""
    y_true, y_pred, weight = Case(1, (8, 6), weight="pixel").data(seed=104)
    small = kerasloss.AtResolution(kerasloss.Dice(), weight=0.5)
    loss = small + kerasloss.AtResolution(kerasloss.Focal())
    loss.assign(dice={"smooth": 4.0})
    target, picked = halved(y_true), halved(weight)
    expected = 0.5 * array(kerasloss.Dice(smooth=4.0)(target, y_pred[:, ::2, ::2], picked))
    expected += array(kerasloss.Focal()(target, y_pred[:, ::2, ::2], picked))
    actual = loss(y_true, y_pred[:, ::2, ::2], weight)
    np.testing.assert_allclose(array(actual), expected, rtol=1e-6)


# ---- one loss an output -------------------------------------------------------------------------


def weights(losses):
    return [loss.weight for loss in losses]


def test_weights_follow_the_resolution():
    supervision = kerasloss.DeepSupervision(kerasloss.Dice())
    assert weights(supervision.for_outputs(model())) == pytest.approx([2 / 3, 1 / 3])
    inputs = keras.Input((8, 8, 8, 1))
    sizes = [2, 8, 4, 8]  # in any order; two of the same size
    net = keras.Model(inputs, [keras.layers.MaxPooling3D(8 // size)(inputs) for size in sizes])
    share = 1 / (0.25 + 1 + 0.5 + 1)
    expected = [0.25 * share, share, 0.5 * share, share]
    assert weights(supervision.for_outputs(net)) == pytest.approx(expected)


def test_weights_without_sizes_follow_the_order():
    supervision = kerasloss.DeepSupervision(kerasloss.Dice())
    for outputs in (model(space=(None, None)), 2):
        assert weights(supervision.for_outputs(outputs)) == pytest.approx([2 / 3, 1 / 3])


def test_weights_of_the_user():
    for given, structure in [((1, 0.25), list), ({"full": 1, "half": 0.25}, list)]:
        supervision = kerasloss.DeepSupervision(kerasloss.Dice(), given)
        assert weights(supervision.for_outputs(model(structure))) == [1, 0.25]
    losses = kerasloss.DeepSupervision(kerasloss.Dice(), {"b": 3, "a": 0}).for_outputs(model(dict))
    assert {name: loss.weight for name, loss in losses.items()} == {"a": 0, "b": 3}


def test_losses_are_copies():
    dice = kerasloss.Dice()
    losses = kerasloss.DeepSupervision(dice).for_outputs(2)
    losses[0].loss.smooth = 50.0
    assert dice.smooth == losses[1].loss.smooth == 1.0


# ---- training -----------------------------------------------------------------------------------


def test_history_holds_the_share_of_every_output():
    net = compiled(kerasloss.Dice())
    full, half = net.predict(X, batch_size=4, verbose=0)
    expected = [
        2 / 3 * array(kerasloss.Dice()(Y, full)),
        1 / 3 * array(kerasloss.Dice()(halved(Y), half)),
    ]
    logs = net.evaluate(X, [Y, Y], batch_size=4, verbose=0, return_dict=True)
    assert [logs["full_loss"], logs["half_loss"]] == pytest.approx(expected, rel=1e-5)
    assert logs["loss"] == pytest.approx(sum(expected), rel=1e-5)
    history = fit(net, epochs=3, validation_data=(X, [Y, Y]))
    assert {"full_loss", "half_loss", "val_half_loss"} < set(history)
    assert history["loss"][-1] < history["loss"][0]


def test_pixels_of_weight_zero_have_no_effect_on_training():
    out = np.random.default_rng(2).random(Y.shape[:-1]) < 0.5
    weight = np.where(out, 0, 1).astype("float32")
    one, two = compiled(kerasloss.CrossEntropy()), compiled(kerasloss.CrossEntropy())
    two.set_weights(one.get_weights())
    fit(one, sample_weight=[weight, weight])
    other = np.where(out[..., None], 1 - Y, Y)
    fit(two, y=[other, other], sample_weight=[weight, weight])
    for first, second in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-6)


def test_weight_per_image_is_given_once():
    net = compiled(kerasloss.Dice())
    weight = np.arange(8, dtype="float32")
    assert np.isfinite(fit(net, sample_weight=weight)["loss"]).all()


def test_outputs_in_a_dict_and_keras_file(tmp_path):
    net = compiled(kerasloss.Multilabel(kerasloss.Dice()), dict)
    history = fit(net, y={"a": Y, "b": Y})
    assert {"a_loss", "b_loss"} < set(history)
    net.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [loaded.loss[name].weight for name in "ab"] == pytest.approx([2 / 3, 1 / 3])
    again = [m.evaluate(X, {"a": Y, "b": Y}, verbose=0, return_dict=True) for m in (net, loaded)]
    assert again[0] == pytest.approx(again[1])


def test_volumes():
    inputs = keras.Input((4, 6, 4, 1))
    outputs = [
        keras.layers.Conv3D(1, 2, strides, "same", activation="sigmoid")(inputs)
        for strides in (1, 2)
    ]
    net = keras.Model(inputs, outputs)
    net.compile("sgd", kerasloss.DeepSupervision(kerasloss.Dice()).for_outputs(net))
    x = np.random.default_rng(3).random((4, 4, 6, 4, 1)).astype("float32")
    y = (x[..., 0] > 0.5).astype("uint8")
    logs = fit(net, y=[y, y], x=x)
    assert np.isfinite(logs["loss"]).all() and logs["loss"][0] > 0


# ---- with a compound ----------------------------------------------------------------------------


def dynamic():
    return kerasloss.Compound(
        {"ce": kerasloss.CrossEntropy(), "dice": kerasloss.Dice()},
        weights={"ce": 0.3, "dice": 0.7},
        weighting=DynamicMemoryFusion(method="mad", warmup=2, memory=5),
        auxiliary=kerasloss.IoU(),
    )


def test_every_output_has_a_compound_of_its_own():
    net = compiled(dynamic())
    compounds = [level.loss for level in net.loss]
    records = [Record(compound) for compound in compounds]
    history = fit(net, epochs=3, callbacks=[kerasloss.DynamicWeighting(), *records])
    for name in ("full_ce", "half_dice", "half_iou", "weight/full_dice", "weight/half_iou"):
        assert np.isfinite(history[name]).all(), name
    assert history["full_dice"] != history["half_dice"]
    assert [list(compound.terms) for compound in compounds] == [
        ["full_ce", "full_dice"],
        ["half_ce", "half_dice"],
    ]
    for record, output in zip(records, ("full", "half"), strict=True):
        moved = [history[f"weight/{output}_{term}"][-1] for term in ("ce", "dice")]
        np.testing.assert_allclose(record.weights[-1], moved, rtol=1e-6)
        assert abs(record.weights[-1][0] - 0.3) > 1e-3


def test_static_compound_needs_no_callback():
    net = compiled(kerasloss.Dice() + 0.5 * kerasloss.CrossEntropy())
    full, half = net.predict(X, batch_size=4, verbose=0)
    expected = 0
    for share, y, p in ((2 / 3, Y, full), (1 / 3, halved(Y), half)):
        expected += share * array(kerasloss.Dice()(y, p))
        expected += share * 0.5 * array(kerasloss.CrossEntropy()(y, p))
    logs = net.evaluate(X, [Y, Y], batch_size=4, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_compound_in_a_keras_file(tmp_path):
    """A training that goes on from the file is the one that never stopped."""
    net = compiled(dynamic())
    fit(net, callbacks=[kerasloss.DynamicWeighting()])
    net.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected = fit(net, epochs=2, callbacks=[kerasloss.DynamicWeighting()])
    actual = fit(loaded, epochs=2, callbacks=[kerasloss.DynamicWeighting()])
    assert list(actual) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(actual[name], values, rtol=1e-4, err_msg=name)


def test_original_compound_is_left_alone():
    loss = kerasloss.Compound({"dice": kerasloss.Dice()}, auxiliary=kerasloss.IoU())
    copies = kerasloss.DeepSupervision(loss).for_outputs(2)
    loss.assign(weights={"dice": 5.0}, dice={"smooth": 9.0}, auxiliary={"smooth": 9.0})
    y_true, y_pred, _ = Case(1).data()
    parts = [array(part.loss.values(y_true, y_pred)) for part in copies]
    expected = array(kerasloss.dice(y_true, y_pred)) + array(kerasloss.iou(y_true, y_pred))
    np.testing.assert_allclose(parts, [expected, expected], rtol=1e-6)


def test_json_file_holds_no_state(tmp_path):
    """Two losses from one file are two losses."""
    kerasloss.save(kerasloss.AtResolution(dynamic(), weight=0.5), tmp_path / "loss.json")
    one, two = (kerasloss.load(tmp_path / "loss.json") for _ in range(2))
    assert one.weight == two.weight == 0.5
    assert one.loss._state.key != two.loss._state.key


# ---- refusals -----------------------------------------------------------------------------------


def test_a_sequential_model_has_one_output():
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 1, activation="sigmoid")]
    )
    loss = kerasloss.DeepSupervision(kerasloss.Dice()).for_outputs(model)
    model.compile("sgd", loss=loss)
    y_true = np.zeros((2, 8, 8), "float32")
    y_true[:, :4] = 1
    inputs = np.full((2, 4, 4, 1), 0.5, "float32")
    given = model.evaluate(inputs, y_true, verbose=0)
    expected = kerasloss.Dice()(y_true[:, ::2, ::2], model(inputs))
    assert given == pytest.approx(float(array(expected)), rel=1e-5)


def test_passed_to_compile_as_it_is():
    net = model()
    net.compile("sgd", loss=kerasloss.DeepSupervision(kerasloss.Dice()))
    with pytest.raises(ValueError, match="for_outputs"):
        fit(net)


@pytest.mark.parametrize("loss", [kerasloss.Dice, "dice", None, keras.losses.MeanSquaredError()])
def test_bad_loss(loss):
    for owner in (kerasloss.DeepSupervision, kerasloss.AtResolution):
        with pytest.raises(ValueError, match=owner.__name__):
            owner(loss)


@pytest.mark.parametrize(
    "given",
    [(1.0,), (1.0, 2.0, 3.0), (0.0, 0.0), (1.0, -1.0), "ab", {"full": 1.0}, (1.0, float("nan"))],
    ids=str,
)
def test_bad_weights(given):
    with pytest.raises(ValueError, match="weight"):
        kerasloss.DeepSupervision(kerasloss.Dice(), given).for_outputs(model())


def test_model_that_does_not_know_its_outputs():
    class Unknown(keras.Model):
        def call(self, x):
            return [x, x]

    with pytest.raises(ValueError, match="number of outputs"):
        kerasloss.DeepSupervision(kerasloss.Dice()).for_outputs(Unknown())


def test_wrapped_compound_is_no_term():
    wrapped = kerasloss.AtResolution(kerasloss.Dice() + kerasloss.Focal())
    with pytest.raises(ValueError, match="Compound"):
        kerasloss.Compound({"a": wrapped})
    with pytest.raises(ValueError, match="Multilabel"):
        kerasloss.Multilabel(wrapped)
