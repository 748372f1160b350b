"""Unified Focal: its powers below 1 at every edge, and the losses that it contains."""

import numpy as np
import pytest
from backend_tools import array, value_and_grad
from cases import Case, probabilities, reference
from keras import ops

import kerasloss
from kerasloss.ops.power import power

GAMMAS = [0.05, 0.25, 0.5, 0.75, 0.95, 1.0]
one_and_three = pytest.mark.parametrize("channels", [1, 3])
both_forms = pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])


def one_hot(labels, channels):
    labels = labels.astype(int)
    return (labels[..., None] if channels == 1 else np.eye(channels)[labels]).astype("float32")


def total(y_true, **options):
    return lambda p: ops.sum(kerasloss.unified_focal(y_true, p, **options))


@pytest.mark.parametrize("exponent", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_power(exponent):
    """The value to rounding; the true slope down to 1e-12 and a finite one below."""
    x = np.array([0.0, 1e-12, 1e-7, 1e-3, 0.5, 1.0], "float32")
    np.testing.assert_allclose(
        array(power(ops.convert_to_tensor(x), exponent))[1:], x[1:] ** exponent, rtol=1e-5
    )
    x = np.array([0.0, 1e-38, 1e-30, 1e-12, 1e-7, 1e-3, 0.5, 1.0], "float32")
    value, slope = value_and_grad(lambda base: ops.sum(power(base, exponent)), x)
    assert np.isfinite(value) and np.all(np.isfinite(slope))
    np.testing.assert_allclose(slope[3:], exponent * x[3:] ** (exponent - 1.0), rtol=1e-5)
    assert array(power(ops.zeros((1,)), exponent))[0] == 0 and slope[0] == 0


@both_forms
@one_and_three
@pytest.mark.parametrize(
    "gamma",
    [
        gamma if gamma in (0.05, 0.5) else pytest.param(gamma, marks=pytest.mark.once)
        for gamma in GAMMAS
    ],
)
def test_every_gamma_at_its_edges(gamma, channels, symmetric):
    """p = 0, p = 1, TI = 1, absent classes and huge logits: finite, and the oracle's value."""
    y_true, y_pred, _ = Case(channels).data(seed=70)
    last = max(channels, 2) - 1
    right, wrong = one_hot(y_true, channels), one_hot((y_true + 1) % (last + 1), channels)
    empty, full = np.zeros_like(y_true), np.full_like(y_true, last)
    options = {"gamma": gamma, "symmetric": symmetric}
    for truth, prediction, from_logits in [
        (y_true, right, False),
        (y_true, wrong, False),
        (y_true, 0 * right, False),
        (y_true, 2e4 * right - 1e4, True),
        (y_true, 2e4 * wrong - 1e4, True),
        (y_true, probabilities(20 * right - 10).astype("float32"), False),
        (empty, y_pred, False),
        (empty, one_hot(empty, channels), False),
        (empty, one_hot(full, channels), False),
        (full, one_hot(full, channels), False),
        (full, 2e4 * one_hot(empty, channels) - 1e4, True),
        (np.where(y_true == last, 0, y_true), y_pred, False),
    ]:
        for smooth in (1e-7, 0.0):
            extra = options | {"from_logits": from_logits, "smooth": smooth}
            value, gradient = value_and_grad(total(truth, **extra), prediction)
            assert np.all(np.isfinite(gradient))
            expected = reference(kerasloss.UnifiedFocal)(truth, prediction, **extra).sum()
            np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-5, err_msg=str(extra))


@both_forms
@one_and_three
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("target", ["every class", "absent class", "empty"])
def test_perfect_prediction_costs_nothing(gamma, channels, symmetric, target):
    y_true, _, _ = Case(channels).data(seed=71)
    if target == "absent class":
        y_true = np.where(y_true == 1, 0, y_true)
    elif target == "empty":
        y_true = np.zeros_like(y_true)
    options = {"gamma": gamma, "symmetric": symmetric}
    perfect = one_hot(y_true, channels)
    for prediction, from_logits in ((perfect, False), (200 * perfect - 100, True)):
        value, gradient = value_and_grad(
            total(y_true, from_logits=from_logits, **options), prediction
        )
        np.testing.assert_allclose(value, 0, atol=1e-6)
        assert np.all(np.isfinite(gradient))


@both_forms
@one_and_three
@pytest.mark.parametrize("gamma", [0.25, 0.75, 0.95])
def test_gradient_close_to_a_perfect_index(gamma, channels, symmetric):
    """Where float32 would lose 1 - TI as a difference: slopes against those of the oracle."""
    y_true, _, _ = Case(channels, space=(4, 4)).data(seed=72)
    rng = np.random.default_rng(72)
    z = 16 * one_hot(y_true, channels) - 8 + rng.normal(size=(2, 4, 4, channels))
    y_pred = probabilities(z).astype("float32")
    options = {"gamma": gamma, "symmetric": symmetric, "weight": 0.3}
    _, gradient = value_and_grad(total(y_true, **options), y_pred)

    def oracle_total(p):
        return reference(kerasloss.UnifiedFocal)(y_true, p, **options).sum()

    x = y_pred.astype("float64")
    for index in [(0, 0, 0, 0), (0, 2, 1, 0), (1, 3, 3, channels - 1)]:
        step = np.zeros_like(x)
        step[index] = 1e-7
        expected = (oracle_total(x + step) - oracle_total(x - step)) / 2e-7
        np.testing.assert_allclose(gradient[index], expected, rtol=2e-3)


@one_and_three
def test_it_contains_cross_entropy_and_dice(channels):
    y_true, y_pred, weight = Case(channels, target="soft", weight="pixel").data(seed=73)
    plain = {"gamma": 0.0, "delta": 0.5, "sample_weight": weight}
    entropy = kerasloss.unified_focal(y_true, y_pred, weight=1.0, **plain)
    expected = 0.5 * array(kerasloss.cross_entropy(y_true, y_pred, sample_weight=weight))
    np.testing.assert_allclose(array(entropy), expected, rtol=1e-5)
    region = kerasloss.unified_focal(y_true, y_pred, weight=0.0, smooth=0.5, **plain)
    expected = kerasloss.dice(
        y_true, y_pred, smooth=1.0, sample_weight=weight, class_weight=(1.0,) * max(channels, 2)
    )
    np.testing.assert_allclose(array(region), array(expected), rtol=1e-5)


@both_forms
def test_two_softmax_channels_are_one_sigmoid_channel(symmetric):
    """With every option that could mix the two up."""
    y_true, z, weight = Case(1, weight="pixel", options={"from_logits": True}).data(seed=74)
    options = {
        "symmetric": symmetric, "delta": 0.7, "gamma": 0.3, "weight": 0.4, "sample_weight": weight,
        "class_weight": (1.0, 3.0), "from_logits": True,
    }  # fmt: skip
    two = np.concatenate([0 * z, z], axis=-1)
    np.testing.assert_allclose(
        array(kerasloss.unified_focal(y_true, z, **options)),
        array(kerasloss.unified_focal(y_true, two, **options)),
        rtol=1e-5,
    )


@pytest.mark.parametrize("make", [kerasloss.UnifiedFocal, kerasloss.unified_focal])
def test_gamma_above_one_is_refused(make):
    """There 1 - gamma would be negative and a better prediction would cost more."""
    data = () if isinstance(make, type) else Case(1).data()[:2]
    with pytest.raises(ValueError, match="gamma.*1.5"):
        make(*data, gamma=1.5)
