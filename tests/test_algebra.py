"""Losses that are added and multiplied: which compound that gives, and what is refused."""

import keras
import numpy as np
import pytest
from backend_tools import array
from cases import LOSSES, Case, some_on_each
from training import fit, network

import kerasloss

# NumPy 2.4 warns about `np.array(variable)`, which Keras 3.15 itself calls.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Y_TRUE, Y_PRED, WEIGHT = Case(1, weight="pixel").data(seed=80)


def a(**options):
    return kerasloss.Dice(smooth=0.5, **options)


def b(**options):
    return kerasloss.Focal(gamma=1.0, **options)


def c(**options):
    return kerasloss.IoU(**options)


def value(loss):
    return array(loss(Y_TRUE, Y_PRED, WEIGHT))


def check_sum(loss, weights, expected):
    assert type(loss) is kerasloss.Compound
    assert loss.get_config()["weights"] == pytest.approx(weights)
    np.testing.assert_allclose(value(loss), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "weights"),
    [
        (lambda: a() + b(), (1, 1, None)),
        (lambda: 0.5 * a(), (0.5, None, None)),
        (lambda: a() * 0.5, (0.5, None, None)),
        (lambda: 0.5 * a() + b(), (0.5, 1, None)),
        (lambda: a() + b() + c(), (1, 1, 1)),
        (lambda: a() + (b() + c()), (1, 1, 1)),
        (lambda: 2 * (a() + 0.5 * b()) + c(), (2, 1, 1)),
        (lambda: 3 * (2 * (0.5 * a())), (3, None, None)),
        (lambda: sum([a(), b(), 2 * c()]), (1, 1, 2)),
        (lambda: sum([0.1 * a()]), (0.1, None, None)),
        (lambda: np.float64(0.5) * a() + b() * np.float32(2), (0.5, 2, None)),
        (lambda: np.int64(3) * a(), (3, None, None)),
    ],
)
def test_sum(make, weights):
    parts = {"dice": a(), "focal": b(), "iou": c()}
    weights = {n: w for n, w in zip(parts, weights, strict=True) if w is not None}
    check_sum(make(), weights, sum(w * value(parts[n]) for n, w in weights.items()))


def test_order_is_that_of_the_sum():
    assert list((c() + 2 * a() + b()).terms) == ["iou", "dice", "focal"]


def test_sum_of_one_is_that_one():
    loss = a()
    assert sum([loss]) is loss
    assert loss + 0 is loss


def test_same_names_are_numbered():
    loss = a() + b() + kerasloss.Dice(smooth=2.0) + (a() + b())
    assert list(loss.terms) == ["dice", "focal", "dice_2", "dice_3", "focal_2"]
    assert loss.terms["dice_2"].get_config()["smooth"] == 2.0
    assert list((a(name="dice_2") + a() + a()).terms) == ["dice_2", "dice", "dice_3"]


def test_names_of_terms_stay():
    named = kerasloss.Compound({"overlap": a()}, weights={"overlap": 2.0})
    assert list((named + a(name="mine")).terms) == ["overlap", "mine"]


def test_sum_changes_none_of_its_parts():
    """Neither later nor earlier changes of one are seen by the other."""
    part = a() + b()
    part.assign(weights={"dice": 3.0}, dice={"smooth": 9.0})
    whole = part + c()
    expected = 3 * value(kerasloss.Dice(smooth=9.0)) + value(b()) + value(c())
    check_sum(whole, {"dice": 3.0, "focal": 1.0, "iou": 1.0}, expected)
    before = value(part)
    whole.assign(weights={"dice": 0.0}, dice={"smooth": 0.1})
    np.testing.assert_array_equal(value(part), before)
    part.assign(dice={"smooth": 70.0})
    np.testing.assert_allclose(value(whole), value(b()) + value(c()), rtol=1e-6)


def test_variable_of_the_user_stays_one():
    smooth = keras.Variable(1.0, dtype="float32", trainable=False)
    loss = 2 * (kerasloss.Dice(smooth=smooth) + b())
    smooth.assign(9.0)
    expected = 2 * value(kerasloss.Dice(smooth=9.0)) + 2 * value(b())
    np.testing.assert_allclose(value(loss), expected, rtol=1e-6)


@pytest.mark.parametrize("options", [{"reduction": "sum"}, {"reduction": "none"}], ids=str)
def test_reduction_is_that_of_the_parts(options):
    loss = 2 * a(**options) + b(**options)
    np.testing.assert_allclose(value(loss), 2 * value(a(**options)) + value(b(**options)), 1e-6)


def test_dtype_is_that_of_the_parts():
    loss = a(dtype="float16") + 2 * b(dtype="float16")
    assert keras.backend.standardize_dtype(loss(Y_TRUE, Y_PRED).dtype) == "float16"


@some_on_each(LOSSES)
def test_every_loss(loss):
    expected = 0.3 * value(loss()) + 2 * value(a())
    np.testing.assert_allclose(value(0.3 * loss() + 2 * a()), expected, rtol=1e-5, atol=1e-7)


def test_json_file(tmp_path):
    loss = 0.5 * a() + 3 * b()
    kerasloss.save(loss, tmp_path / "loss.json")
    weights = {"dice": 0.5, "focal": 3.0}
    check_sum(kerasloss.load(tmp_path / "loss.json"), weights, value(loss))


def test_training_and_keras_file(tmp_path):
    """A sum trains without a callback, and comes back from a file."""
    loss = 0.5 * a() + b()
    model = network(loss)
    logs = fit(model)
    assert list(logs) == ["loss"] and np.isfinite(logs["loss"]).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    check_sum(loaded.loss, {"dice": 0.5, "focal": 1.0}, value(loss))


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: a() * b(),
        lambda: (a() + b()) * a(),
        lambda: a() * "2",
        lambda: a() * np.ones(2),
        lambda: np.ones(2) * a(),
        lambda: a() * 1j,
        lambda: a() + 1,
        lambda: 0.5 + a(),
        lambda: a() + kerasloss.Focal,
        lambda: a() + kerasloss.focal,
        lambda: a() + keras.losses.MeanSquaredError(),
        lambda: keras.losses.MeanSquaredError() + a(),
        lambda: a() + None,
    ],
)
def test_what_is_no_sum(make):
    with pytest.raises(TypeError, match="loss arithmetic"):
        make()


def test_class_instead_of_an_object():
    with pytest.raises(TypeError, match=r"Focal\(\)"):
        a() + kerasloss.Focal  # noqa: B018


@pytest.mark.parametrize("factor", [-1, -0.5, 0, float("nan"), float("inf"), True])
def test_bad_factor(factor):
    with pytest.raises(ValueError, match="factor"):
        factor * a()


@pytest.mark.parametrize(
    "options",
    [{"weighting": kerasloss.weighting.DynamicMemoryFusion()}, {"auxiliary": kerasloss.IoU()}],
    ids=["weighting", "auxiliary"],
)
def test_sum_with_moving_weights(options):
    moving = kerasloss.Compound({"dice": a()}, **options)
    for make in (lambda: moving + b(), lambda: b() + moving, lambda: 2 * moving):
        with pytest.raises(ValueError, match="weighting"):
            make()


@pytest.mark.parametrize(
    ("one", "other", "option"),
    [
        ({"reduction": "sum"}, {}, "reduction"),
        ({"reduction": "none"}, {"reduction": "sum"}, "reduction"),
        ({"dtype": "float16"}, {"dtype": "float32"}, "dtype"),
    ],
)
def test_parts_that_disagree(one, other, option):
    with pytest.raises(ValueError, match=option):
        a(**one) + b(**other)


def test_means_by_other_names_agree():
    assert (a(reduction="mean") + b()).reduction == "sum_over_batch_size"
