"""The loss contract: values, weights and reductions of every public loss, against the oracle.

Runs on the backend that KERAS_BACKEND names. Edge cases are in `test_edges.py`.
"""

import inspect

import cases
import keras
import numpy as np
import oracle
import pytest
from backend_tools import array, grad, jit
from cases import CASES, COMPARED, LOSSES, Case, some_on_each, twin
from keras import ops

import kerasloss

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
every_compared_loss = pytest.mark.parametrize("loss", COMPARED, ids=lambda loss: loss.__name__)


def has(loss, argument):
    return argument in inspect.signature(loss).parameters


def is_spatial(loss):
    """A loss that looks at neighbours: there, copies of a pixel have no place to be."""
    spatial = ("smoothness", "kind", "iterations", "spacing")
    return any(has(loss, argument) for argument in spatial)


def check(actual, expected, rtol=1e-5):
    np.testing.assert_allclose(array(actual), expected, rtol=rtol, atol=1e-6)


# ---- names --------------------------------------------------------------------------------------


def test_there_are_losses():
    """An empty `__all__` would let every other test here pass."""
    assert len(LOSSES) >= 10


@pytest.mark.once
@every_loss
def test_oracle_covers_loss(loss):
    name = cases.twin_name(loss)
    assert hasattr(oracle, name), (
        f"{loss.__name__} has no reference: add a function `{name}` to tests/oracle"
    )


@pytest.mark.once
@every_loss
def test_other_values_cover_arguments(loss):
    missing = set(cases.hyper_parameters(loss)) - set(cases.OTHER_VALUE)
    assert not missing, f"{loss.__name__}: add {sorted(missing)} to OTHER_VALUE in tests/cases.py"


@pytest.mark.once
@every_loss
def test_class_and_twin_are_public_and_agree(loss):
    name = cases.twin_name(loss)
    assert name in kerasloss.losses.__all__
    assert getattr(kerasloss, name) is twin(loss)
    assert getattr(kerasloss, loss.__name__) is loss
    function = inspect.signature(twin(loss)).parameters
    names = [*cases.hyper_parameters(loss), "from_logits", "class_weight", "ignore_class"]
    assert list(function)[:2] == ["y_true", "y_pred"]
    assert set(function) == {"y_true", "y_pred", "sample_weight", *names}
    for argument in names:
        assert function[argument].kind is inspect.Parameter.KEYWORD_ONLY
        assert function[argument].default == inspect.signature(loss).parameters[argument].default


@pytest.mark.once
@every_loss
def test_hyper_parameters_are_keyword_only(loss):
    y_true, y_pred, _ = Case(1).data()
    with pytest.raises(TypeError):
        loss(0.5)
    with pytest.raises(TypeError):
        twin(loss)(y_true, y_pred, None, 0.5)


# ---- values -------------------------------------------------------------------------------------


# Forms and options that each backend has in another case, too.
ON_ONE_BACKEND = {
    "one-channel-same-shape",
    "one-channel-pixel-weight",
    "one-channel-ignore-0",
    "two-classes",
    "three-classes-labels1",
    "three-classes-one-hot",
    "three-classes-image-weight",
    "three-classes-pixel-weight",
    "three-classes-pixel1-weight-line",
    "three-classes-class-left-out",
    "three-classes-ignore-255",
    "three-classes-ignore-1",
}


@every_compared_loss
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.once if name in ON_ONE_BACKEND else ())
        for name in CASES
    ],
)
def test_value(loss, name):
    case = CASES[name]
    y_true, y_pred, weight = case.data()
    actual = twin(loss)(y_true, y_pred, sample_weight=weight, **case.options)
    expected = cases.reference(loss)(y_true, y_pred, weight, **case.options)
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    check(actual, expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("loss", "name", "value"),
    [(loss, *other) for loss in COMPARED for other in cases.other_values(loss)],
    ids=lambda item: getattr(item, "__name__", str(item)),
)
def test_value_of_other_hyper_parameters(loss, name, value, channels):
    options = {name: value}
    case = Case(channels, target="soft", weight="pixel")
    y_true, y_pred, weight = case.data(seed=1)
    expected = cases.reference(loss)(y_true, y_pred, weight, **options)
    check(twin(loss)(y_true, y_pred, sample_weight=weight, **options), expected)
    # The object must pass it on.
    check(loss(**options, reduction="none")(y_true, y_pred, weight), expected)


@pytest.mark.parametrize("pool", ["image", "batch"])
@pytest.mark.parametrize("case", ["one-channel-all-options", "three-classes-all-options"])
@pytest.mark.parametrize("loss", [loss for loss in COMPARED if has(loss, "pool")])
def test_pool(loss, case, pool):
    case = CASES[case]
    y_true, y_pred, weight = case.data(seed=2)
    actual = twin(loss)(y_true, y_pred, sample_weight=weight, pool=pool, **case.options)
    check(actual, cases.reference(loss)(y_true, y_pred, weight, pool=pool, **case.options))
    first, second = array(actual)
    assert (first == second) == (pool == "batch")


@pytest.mark.parametrize(
    ("loss", "channels"),
    [(loss, channels) for loss in LOSSES for channels in (1, 3) if channels > 1 or not loss.margin],
    ids=lambda item: getattr(item, "__name__", str(item)),
)
def test_logits_are_probabilities(loss, channels):
    y_true, z, _ = Case(channels, options=cases.LOGITS).data(seed=3)
    p = cases.probabilities(z.astype("float64")).astype("float32")
    check(twin(loss)(y_true, z, from_logits=True), array(twin(loss)(y_true, p)))


@every_loss
@pytest.mark.parametrize("dtype", ["int32", "uint8", "float32"])
def test_labels_are_one_hot(loss, dtype):
    labels, y_pred, _ = Case(3).data(seed=4)
    one_hot = np.eye(3, dtype="float32")[labels.astype(int)]
    labels = labels.astype(dtype)
    expected = array(twin(loss)(one_hot, y_pred))
    check(twin(loss)(labels, y_pred), expected, rtol=1e-6)
    check(twin(loss)(labels[..., None], y_pred), expected, rtol=1e-6)
    check(loss(reduction="none")(labels, y_pred), expected, rtol=1e-6)


@pytest.mark.once
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("loss", "name", "value"),
    [(loss, *other) for loss in COMPARED for other in cases.other_values(loss)],
    ids=lambda item: getattr(item, "__name__", str(item)),
)
def test_other_hyper_parameters_with_integer_labels(loss, name, value, channels):
    """Losses may take a shorter way where each pixel is known to have a single class."""
    options = {name: value, "from_logits": True}
    y_true, y_pred, weight = Case(channels, target="integers", weight="pixel").data(seed=1)
    expected = cases.reference(loss)(y_true, y_pred, weight, **options)
    check(twin(loss)(y_true, y_pred, sample_weight=weight, **options), expected)


@every_loss
@pytest.mark.parametrize("dtype", ["bool", "int32", "uint8"])
def test_dtype_of_a_mask(loss, dtype):
    mask, y_pred, _ = Case(1).data(seed=4)
    expected = array(twin(loss)(mask, y_pred))
    check(twin(loss)(mask.astype(dtype), y_pred), expected, rtol=1e-6)
    check(twin(loss)(mask.astype(dtype)[..., None], y_pred), expected, rtol=1e-6)


@every_loss
@pytest.mark.parametrize("channels", [1, 3])
def test_labels_and_weights_with_and_without_last_axis(loss, channels):
    case = Case(channels, weight="pixel", options={"ignore_class": 255})
    labels, y_pred, weight = case.data(seed=5)
    labels = labels.astype("uint8")  # as read from a PNG
    expected = array(twin(loss)(labels, y_pred, sample_weight=weight, ignore_class=255))
    actual = twin(loss)(
        labels[..., None], y_pred, sample_weight=weight[..., None], ignore_class=255
    )
    check(actual, expected, rtol=1e-6)


# ---- reductions ---------------------------------------------------------------------------------

ONE_EMPTY_IMAGE = np.ones((3, 8, 7), "float32")
ONE_EMPTY_IMAGE[1] = 0
ONE_EMPTY_IMAGE[2, :4] = 0.5


def three_images():
    first, second = Case(3).data(seed=6), Case(3).data(seed=7)
    return np.concatenate([first[0], second[0]])[:3], np.concatenate([first[1], second[1]])[:3]


@pytest.mark.once
@every_compared_loss
@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none"]
)
@pytest.mark.parametrize(
    "weight",
    [None, np.array([0.5, 0.0, 2.0], "float32"), np.zeros(3, "float32"), ONE_EMPTY_IMAGE],
    ids=["no-weight", "image-weight", "all-zero", "pixel-weight"],
)
def test_reduction(loss, reduction, weight):
    y_true, y_pred = three_images()
    values = cases.reference(loss)(y_true, y_pred, weight)
    expected = oracle.reduce(values, y_true, y_pred, weight, reduction=reduction)
    actual = loss(reduction=reduction)(y_true, y_pred, sample_weight=weight)
    check(actual, expected)
    if reduction == "none":
        twin_values = array(twin(loss)(y_true, y_pred, sample_weight=weight))
        np.testing.assert_array_equal(array(actual), twin_values)


@some_on_each(COMPARED)
def test_ignored_image_leaves_the_mean(loss):
    y_true, y_pred = three_images()
    y_true[1] = 255
    values = cases.reference(loss)(y_true, y_pred, ignore_class=255)
    check(loss(ignore_class=255)(y_true, y_pred), (values[0] + values[2]) / 2)


@every_loss
def test_image_weight_counts_copies_of_the_image(loss):
    y_true, y_pred, _ = Case(3).data(seed=8)
    copies = [0, 1, 1]
    expected = array(loss()(y_true[copies], y_pred[copies]))
    check(loss()(y_true, y_pred, sample_weight=np.array([1.0, 2.0], "float32")), expected)


@every_loss
def test_image_of_weight_zero_is_absent(loss):
    y_true, y_pred = three_images()
    expected = array(loss()(y_true[1:], y_pred[1:]))
    check(loss()(y_true, y_pred, sample_weight=np.array([0.0, 1.0, 1.0], "float32")), expected)


# ---- pixel weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if not is_spatial(loss)])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixel_weight_counts_copies_of_the_pixel(loss, channels):
    case = Case(channels, space=(12,))
    y_true, y_pred, _ = case.data(seed=10)
    y_true, y_pred = y_true[:1], y_pred[:1]
    times = np.array([0, 1, 2, 3] * 3)
    expected = array(twin(loss)(np.repeat(y_true, times, 1), np.repeat(y_pred, times, 1)))
    check(twin(loss)(y_true, y_pred, sample_weight=times[None].astype("float32")), expected)


@every_loss
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("by", ["sample_weight", "ignore_class"])
def test_pixel_of_weight_zero_has_no_effect(loss, channels, by):
    y_true, y_pred, _ = Case(channels).data(seed=11)
    rng = np.random.default_rng(11)
    out = rng.random(y_true.shape) < 0.3
    other_pred = np.where(out[..., None], 1 - y_pred, y_pred)
    if by == "sample_weight":
        options = {"sample_weight": np.where(out, 0.0, 1.5).astype("float32")}
        other_true = np.where(out, (y_true + 1) % max(channels, 2), y_true)
    else:
        options = {"ignore_class": 255}
        y_true = np.where(out, 255, y_true).astype("float32")
        other_true = y_true

    expected = array(twin(loss)(y_true, y_pred, **options))
    check(twin(loss)(other_true.astype("float32"), other_pred, **options), expected, rtol=1e-6)

    gradient = grad(lambda p: ops.sum(twin(loss)(y_true, p, **options)), y_pred)
    assert np.all(gradient[out] == 0)
    assert np.any(gradient[~out] != 0)


# ---- compiled -----------------------------------------------------------------------------------


@every_loss
def test_jit(loss):
    """Compiled with XLA, with a mask, weights and logits, it is the same function."""
    if keras.backend.backend() == "torch":
        pytest.skip("Keras runs PyTorch eagerly: there is nothing to compile")
    case = CASES["three-classes-all-options"]
    data = [ops.convert_to_tensor(item) for item in case.data(seed=12)]
    instance = loss(**case.options)
    check(jit(lambda *inputs: instance(*inputs))(*data), array(instance(*data)))
