"""The loss contract at its edges: degenerate inputs, half precision, and refused inputs."""

import cases
import keras
import numpy as np
import pytest
from backend_tools import array, value_and_grad
from cases import COMPARED, LOSSES, Case, twin
from keras import ops

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
one_and_three = pytest.mark.parametrize("channels", [1, 3])


def options_to_try(loss):
    """The defaults and what makes new edges: other modes, 0 (0/0, 0^0), an exponent below 1."""
    others = cases.other_values(loss)
    usual = {"iterations": 2} if "iterations" in dict(others) else {}  # a tenth of the time
    return [
        usual,
        *({**usual, n: v} for n, v in others if isinstance(v, (str, bool)) or v in (0.0, 0.5)),
    ]


def check_finite(loss, y_true, y_pred, **options):
    """Value and gradient are finite and the value is a cost; returns both."""
    weight = options.pop("sample_weight", None)

    def total(p):
        values = twin(loss)(y_true, p, sample_weight=weight, **options)
        assert keras.backend.standardize_dtype(values.dtype) == "float32"  # from half, too
        return ops.sum(values)

    value, gradient = value_and_grad(total, y_pred)
    assert np.isfinite(value), f"value {value} with {options}"
    assert np.all(np.isfinite(gradient)), f"gradient with {options}"
    assert value >= -1e-6, f"negative with {options}: {value}"
    return value, gradient


def one_hot(labels, channels):
    """Labels as a prediction that is exactly right."""
    labels = labels.astype(int)
    return (labels[..., None] if channels == 1 else np.eye(channels)[labels]).astype("float32")


def constant(channels, label):
    return np.full((2, 8, 7), label if channels == 1 else max(label, 0), "float32")


def uniform(channels):
    return np.full((2, 8, 7, channels), 1 / max(channels, 2), "float32")


# Name -> (y_true, y_pred, options); predictions are exact zeros and ones in "confident" ones.
def edge(name, channels):
    y_true, y_pred, _ = Case(channels).data(seed=20)
    last = max(channels, 2) - 1
    right, wrong = one_hot(y_true, channels), one_hot((y_true + 1) % (last + 1), channels)
    empty, full = constant(channels, 0), constant(channels, last)
    return {
        "empty target": (empty, y_pred, {}),
        "full target": (full, y_pred, {}),
        "empty prediction": (y_true, one_hot(empty, channels), {}),
        "full prediction": (y_true, one_hot(full, channels), {}),
        "empty target predicted full": (empty, one_hot(full, channels), {}),
        "full target predicted empty": (full, one_hot(empty, channels), {}),
        "p exactly right": (y_true, right, {}),
        "p exactly wrong": (y_true, wrong, {}),
        "p zero in every class": (y_true, np.zeros_like(y_pred), {}),
        "logits 1e4 right": (y_true, 2e4 * right - 1e4, {"from_logits": True}),
        "logits 1e4 wrong": (y_true, 2e4 * wrong - 1e4, {"from_logits": True}),
        "all ignored": (np.full_like(y_true, 255), y_pred, {"ignore_class": 255}),
        "all ignored, confident": (np.full_like(y_true, 255), wrong, {"ignore_class": 255}),
        "all weights zero": (y_true, y_pred, {"sample_weight": np.zeros((2, 8, 7), "float32")}),
    }[name]


EDGES = [
    "empty target",
    "full target",
    "empty prediction",
    "full prediction",
    "empty target predicted full",
    "full target predicted empty",
    "p exactly right",
    "p exactly wrong",
    "p zero in every class",
    "logits 1e4 right",
    "logits 1e4 wrong",
    "all ignored",
    "all ignored, confident",
    "all weights zero",
]


@every_loss
@one_and_three
@pytest.mark.parametrize("name", EDGES)
def test_edge(loss, channels, name):
    """Finite value and gradient, and the value of the oracle, for every hyper-parameter."""
    y_true, y_pred, options = edge(name, channels)
    for hyper in options_to_try(loss):
        value, gradient = check_finite(loss, y_true, y_pred, **options, **hyper)
        if name.startswith("all "):
            np.testing.assert_allclose(value, 0, atol=1e-6)
            assert np.all(gradient == 0)
        if loss in COMPARED:
            expected = cases.reference(loss)(y_true, y_pred, **options, **hyper).sum()
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5, err_msg=str(hyper))


@every_loss
@one_and_three
def test_one_pixel(loss, channels):
    """No neighbours and no differences; one image is background, the other is class 1."""
    y_true = np.array([[[0]], [[1]]], "float32")
    y_pred = np.full((2, 1, 1, channels), 0.3, "float32")
    value, _ = check_finite(loss, y_true, y_pred)
    if loss in COMPARED:
        expected = cases.reference(loss)(y_true, y_pred).sum()
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@every_loss
@one_and_three
@pytest.mark.parametrize("target", ["every class", "absent class", "empty", "full"])
def test_perfect_prediction_costs_nothing(loss, channels, target):
    y_true, _, _ = Case(channels).data(seed=21)
    last = max(channels, 2) - 1
    if target == "absent class":
        y_true = np.where(y_true == 1, 0, y_true)
    elif target == "empty":
        y_true = constant(channels, 0)
    elif target == "full":
        y_true = constant(channels, last)
    perfect = one_hot(y_true, channels)
    for options in options_to_try(loss):
        value = array(twin(loss)(y_true, perfect, **options))
        np.testing.assert_allclose(value, 0, atol=1e-6, err_msg=str(options))
        logits = array(twin(loss)(y_true, 200 * perfect - 100, from_logits=True, **options))
        np.testing.assert_allclose(logits, 0, atol=1e-6, err_msg=str(options))


@every_loss
@pytest.mark.parametrize(
    "class_weight", [(0.0, 5.0), (5.0, 0.0), (1e-3, 1e3), (0.0, 0.0, 2.0), (9.0, 0.1, 0.0)]
)
def test_class_weights_never_make_it_negative(loss, class_weight):
    channels = len(class_weight) if len(class_weight) > 2 else 1
    y_true, y_pred, _ = Case(channels).data(seed=22)
    for truth in (y_true, constant(channels, 0)):  # and with classes that are absent
        for prediction in (y_pred, one_hot(y_true, channels)):
            value = array(twin(loss)(truth, prediction, class_weight=class_weight))
            assert np.all(np.isfinite(value)) and np.all(value >= -1e-6)


@every_loss
def test_class_weights_have_no_scale(loss):
    y_true, y_pred, _ = Case(3).data(seed=23)
    expected = array(twin(loss)(y_true, y_pred, class_weight=(1.0, 2.0, 4.0)))
    actual = array(twin(loss)(y_true, y_pred, class_weight=(10.0, 20.0, 40.0)))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.once  # of probabilities; of logits on each backend, in test_half_precision.py
@every_loss
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_on_large_images(loss, dtype):
    """512 x 512 ones do not fit in a float16 sum; sums must be in float32."""
    rng = np.random.default_rng(24)
    rows, columns = np.mgrid[:512, :512]
    y_true = ((rows - 200) ** 2 + (columns - 300) ** 2 < 40**2)[None].astype("float32")
    z = rng.normal(size=(1, 512, 512, 1)) + 2 * y_true[..., None] - 1
    half = ops.cast(ops.convert_to_tensor(cases.probabilities(z).astype("float32")), dtype)
    value, _ = check_finite(loss, y_true, half)
    if loss in COMPARED:
        expected = cases.reference(loss)(y_true, array(half)).sum()
        np.testing.assert_allclose(value, expected, rtol=1e-4)


# ---- what is refused ----------------------------------------------------------------------------

PREDICTION = np.full((2, 4, 5, 3), 1 / 3, "float32")
LABELS = np.zeros((2, 4, 5), "float32")

BAD_SHAPES = {
    "y_pred without space": (np.zeros((2, 3)), np.zeros((2, 3), "float32"), None, "y_pred"),
    "y_pred with four axes": (
        np.zeros((2, 2, 2, 2, 2)),
        np.zeros((2, 2, 2, 2, 2, 3), "float32"),
        None,
        "y_pred",
    ),
    "other class count": (np.zeros((2, 4, 5, 4)), PREDICTION, None, "y_true"),
    "other height": (np.zeros((2, 6, 5)), PREDICTION, None, "y_true"),
    "other batch": (np.zeros((3, 4, 5)), PREDICTION, None, "y_true"),
    "too few axes": (np.zeros((2, 4)), PREDICTION, None, "y_true"),
    "weight of other batch": (LABELS, PREDICTION, np.ones(3, "float32"), "sample_weight"),
    "weight of other size": (LABELS, PREDICTION, np.ones((2, 4, 6), "float32"), "sample_weight"),
    "weight with classes": (LABELS, PREDICTION, np.ones((2, 4, 5, 3), "float32"), "sample_weight"),
}


@pytest.mark.once
@every_loss
@pytest.mark.parametrize("name", BAD_SHAPES)
def test_bad_shape_is_refused(loss, name):
    """The message names the loss and the argument, and shows the shape that came."""
    y_true, y_pred, weight, argument = BAD_SHAPES[name]
    came = {"y_true": y_true, "y_pred": y_pred, "sample_weight": weight}[argument]
    y_true = y_true.astype("float32")
    names = (loss.__name__, cases.twin_name(loss))
    for call in (
        lambda: twin(loss)(y_true, y_pred, sample_weight=weight),
        lambda: loss()(y_true, y_pred, sample_weight=weight),
    ):
        with pytest.raises(ValueError) as error:
            call()
        message = str(error.value)
        assert any(n in message for n in names), message
        assert argument in message and str(came.shape) in message, message


@pytest.mark.once
@every_loss
@pytest.mark.parametrize(
    ("channels", "class_weight"),
    [(1, (1.0,)), (1, (1.0, 2.0, 3.0)), (3, (1.0, 2.0)), (3, (1.0, 1.0, -1.0))],
)
def test_bad_class_weight_is_refused(loss, channels, class_weight):
    y_true, y_pred, _ = Case(channels).data()
    with pytest.raises(ValueError, match="class_weight"):
        twin(loss)(y_true, y_pred, class_weight=class_weight)
    with pytest.raises(ValueError, match="class_weight"):
        loss(class_weight=class_weight)(y_true, y_pred)


@pytest.mark.once
@every_loss
@pytest.mark.parametrize("ignore_class", [-1, 3, 255])
def test_ignore_class_beyond_a_one_hot_target_is_refused(loss, ignore_class):
    y_true, y_pred, _ = Case(3, target="one_hot").data()
    with pytest.raises(ValueError, match="ignore_class"):
        twin(loss)(y_true, y_pred, ignore_class=ignore_class)


BAD_VALUES = [
    ("smooth", -1.0),
    ("pool", "class"),
    ("smoothness", "edge"),
    ("kind", "pixel"),
    ("label_smoothing", 1.5),
    ("gamma", -0.5),
    ("epsilon", -1.5),
    ("positive_gamma", -0.5),
    ("negative_gamma", -0.5),
    ("margin", 1.5),
    ("fraction", 0.0),
    ("fraction", 1.5),
    ("symmetric", "yes"),
    ("delta", 1.5),
    ("weight", 1.5),
]


@pytest.mark.once
@pytest.mark.parametrize(
    ("loss", "name", "value"),
    [
        (loss, name, value)
        for loss in LOSSES
        for name, value in BAD_VALUES
        if name in cases.hyper_parameters(loss)
    ],
    ids=lambda item: getattr(item, "__name__", str(item)),
)
def test_bad_value_is_refused(loss, name, value):
    """When the object is made, not when it first trains; the twin when it is called."""
    y_true, y_pred, _ = Case(1).data()
    for call in (
        lambda: loss(**{name: value}),
        lambda: twin(loss)(y_true, y_pred, **{name: value}),
    ):
        with pytest.raises(ValueError, match=name) as error:
            call()
        assert str(value) in str(error.value)
