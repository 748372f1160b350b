"""What is special to single distribution losses: smoothing, margins, hardest pixels."""

import cases
import keras
import numpy as np
import pytest
from backend_tools import array, grad, jit, value_and_grad
from cases import LOSSES, Case, twin
from keras import ops

import kerasloss

one_and_three = pytest.mark.parametrize("channels", [1, 3])
SMOOTHED = [loss for loss in LOSSES if "label_smoothing" in cases.hyper_parameters(loss)]


def one_hot(labels, channels=3):
    return np.eye(channels, dtype="float32")[labels.astype(int)]


# ---- label smoothing ----------------------------------------------------------------------------


@pytest.mark.parametrize("from_logits", [False, True])
def test_label_smoothing_is_that_of_keras(from_logits):
    options = {"label_smoothing": 0.2, "from_logits": from_logits}
    y_true, y_pred, _ = Case(1, options=options).data(seed=60)
    binary = keras.losses.BinaryCrossentropy(**options)(y_true[..., None], y_pred)
    np.testing.assert_allclose(
        array(kerasloss.CrossEntropy(**options)(y_true, y_pred)), array(binary), rtol=1e-5
    )
    y_true, y_pred, _ = Case(3, options=options).data(seed=60)
    categorical = keras.losses.CategoricalCrossentropy(**options)(one_hot(y_true), y_pred)
    np.testing.assert_allclose(
        array(kerasloss.CrossEntropy(**options)(y_true, y_pred)), array(categorical), rtol=1e-5
    )


@pytest.mark.parametrize("loss", SMOOTHED, ids=lambda loss: loss.__name__)
@one_and_three
def test_smoothed_loss_at_its_edges(loss, channels):
    """Finite where a prediction is certain, which now always costs something."""
    y_true, _, _ = Case(channels).data(seed=61)
    right = y_true[..., None] if channels == 1 else one_hot(y_true)
    for prediction, from_logits in ((right, False), (2e4 * right - 1e4, True)):
        value, gradient = value_and_grad(
            lambda p, options={"from_logits": from_logits}: ops.sum(
                twin(loss)(y_true, p, label_smoothing=0.1, **options)
            ),
            prediction,
        )
        assert np.isfinite(value) and np.all(np.isfinite(gradient))
        assert value > 0.5


def test_three_losses_smooth():
    assert set(SMOOTHED) == {
        kerasloss.CrossEntropy,
        kerasloss.WeightedCrossEntropy,
        kerasloss.Focal,
    }


# ---- focal --------------------------------------------------------------------------------------


@pytest.mark.parametrize("from_logits", [False, True])
def test_focal_of_integer_labels_is_that_of_keras_on_one_hot_ones(from_logits):
    options = {"gamma": 1.5, "from_logits": from_logits}
    y_true, y_pred, _ = Case(1, options=options).data(seed=62)
    theirs = keras.losses.BinaryFocalCrossentropy(**options)(y_true[..., None], y_pred)
    ours = kerasloss.Focal(**options)(y_true.astype("uint8"), y_pred)
    np.testing.assert_allclose(array(ours), array(theirs), rtol=1e-5)

    theirs = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.3, **options)(
        y_true[..., None], y_pred
    )
    ours = kerasloss.Focal(alpha=0.3, **options)(y_true.astype("uint8"), y_pred)
    np.testing.assert_allclose(array(ours), array(theirs), rtol=1e-5)

    y_true, y_pred, _ = Case(3, options=options).data(seed=62)
    theirs = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, **options)(
        one_hot(y_true), y_pred
    )
    ours = kerasloss.Focal(**options)(y_true.astype("int32"), y_pred)
    np.testing.assert_allclose(array(ours), array(theirs), rtol=1e-5)


# ---- poly ---------------------------------------------------------------------------------------


@one_and_three
def test_poly_without_epsilon_is_cross_entropy_or_focal(channels):
    y_true, y_pred, _ = Case(channels, target="soft").data(seed=63)
    for ours, theirs in [
        (kerasloss.poly(y_true, y_pred, epsilon=0.0), kerasloss.cross_entropy(y_true, y_pred)),
        (
            kerasloss.poly(y_true, y_pred, epsilon=0.0, gamma=2.0, alpha=0.3),
            kerasloss.focal(y_true, y_pred, gamma=2.0, alpha=0.3),
        ),
    ]:
        np.testing.assert_allclose(array(ours), array(theirs), rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_poly_is_never_negative(gamma):
    """At epsilon = -1, where the leading term is gone altogether."""
    p = np.linspace(0, 1, 101, dtype="float32")[None, :, None]
    value = array(kerasloss.poly(np.ones((1, 101), "float32"), p, epsilon=-1.0, gamma=gamma))
    assert np.all(value > 0)
    one_pixel = [
        array(kerasloss.poly(np.ones((1, 1)), p[:, i : i + 1], epsilon=-1.0, gamma=gamma))[0]
        for i in range(0, 101, 10)
    ]
    assert np.all(np.array(one_pixel) >= 0) and np.all(np.diff(one_pixel) <= 0)


# ---- asymmetric ---------------------------------------------------------------------------------


def test_asymmetric_contains_focal_and_cross_entropy():
    y_true, y_pred, _ = Case(1, target="soft").data(seed=64)
    ours = kerasloss.asymmetric(y_true, y_pred, positive_gamma=2.0, negative_gamma=2.0, margin=0.0)
    np.testing.assert_allclose(
        array(ours), array(kerasloss.focal(y_true, y_pred, gamma=2.0)), rtol=1e-5
    )


def test_asymmetric_without_focus_and_margin_is_exact_at_large_logits():
    """No floor under 1 - p: a false alarm with a logit of 1e4 costs 1e4, and its slope is 1."""
    z = np.array([[[-1e4], [-50.0], [0.0], [50.0], [1e4]]], "float32")
    y_true = np.zeros((1, 5), "float32")
    zero = keras.Variable(0.0, trainable=False)  # not known to Python
    for margin in (0.0, zero):
        value, gradient = value_and_grad(
            lambda x, margin=margin: ops.sum(
                kerasloss.asymmetric(
                    y_true, x, positive_gamma=0.0, negative_gamma=0.0, margin=margin,
                    from_logits=True,
                )
            ),
            z,
        )  # fmt: skip
        np.testing.assert_allclose(value * 5, np.log(2) + 50 + 1e4, rtol=1e-6)
        np.testing.assert_allclose(gradient[0, :, 0] * 5, [0, 0, 0.5, 1, 1], atol=1e-5)


@one_and_three
@pytest.mark.parametrize("from_logits", [False, True])
def test_margin_drops_easy_negatives_and_limits_the_others(channels, from_logits):
    """Below the margin neither cost nor slope; above at most -log(margin), at p = 1."""
    p = np.array([0.01, 0.04, 1.0 - 1e-6], "float64")
    p = p[:, None] if channels == 1 else np.stack([p, 1 - p - 1e-9, p * 0 + 1e-9], axis=-1)
    y_pred = np.log(p / (1 - p) if channels == 1 else p) if from_logits else p
    y_pred = y_pred[:, None].astype("float32")  # three images of one pixel
    y_true = np.zeros((3, 1)) if channels == 1 else one_hot(np.full((3, 1), 1))
    options = {"class_weight": (1.0, 0.0, 0.0)} if channels == 3 else {}

    def cost(x):
        values = kerasloss.asymmetric(
            y_true.astype("float32"), x, positive_gamma=0.0, negative_gamma=0.0,
            from_logits=from_logits, **options,
        )  # fmt: skip
        return values

    np.testing.assert_allclose(array(cost(y_pred)), [0, 0, -np.log(0.05)], rtol=1e-4, atol=1e-7)
    gradient = grad(lambda x: ops.sum(cost(x)), y_pred)
    np.testing.assert_allclose(gradient[:2], 0, atol=1e-7)


# ---- hardest pixels -----------------------------------------------------------------------------


@one_and_three
def test_all_of_the_pixels_are_cross_entropy(channels):
    y_true, y_pred, weight = Case(channels, weight="pixel").data(seed=65)
    for options in ({}, {"sample_weight": weight}):
        ours = kerasloss.top_k_cross_entropy(y_true, y_pred, fraction=1.0, **options)
        theirs = kerasloss.cross_entropy(y_true, y_pred, **options)
        np.testing.assert_allclose(array(ours), array(theirs), rtol=1e-6)


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.25, 0.37, 0.999, 1.0])
def test_every_way_to_the_hardest_pixels_agrees(fraction):
    """A number (top-k), a variable (a sort) and weights (a sorted sum), in value and gradient."""
    y_true, y_pred, _ = Case(1, space=(6, 7)).data(seed=66)
    variable = keras.Variable(fraction, dtype="float32", trainable=False)
    ways = [
        {"fraction": fraction},
        {"fraction": variable},
        {"fraction": fraction, "sample_weight": np.full((2, 6, 7), 0.01, "float32")},
        {"fraction": variable, "sample_weight": np.full((2, 6, 7), 700.0, "float32")},
    ]
    results = []
    for options in ways:
        results.append(
            value_and_grad(
                lambda p, options=options: ops.sum(
                    kerasloss.top_k_cross_entropy(y_true, p, **options)
                ),
                y_pred,
            )
        )
    counted = np.count_nonzero(results[0][1], axis=(1, 2, 3))
    np.testing.assert_array_equal(counted, np.ceil(round(fraction * 42, 6)))
    for value, gradient in results[1:]:
        np.testing.assert_allclose(value, results[0][0], rtol=1e-5)
        np.testing.assert_allclose(gradient, results[0][1], rtol=1e-4, atol=1e-6)


def test_equal_pixels_share_the_gradient():
    """A constant prediction, as at the start: no backend's order of sorting may decide."""
    y_true = np.zeros((1, 8, 7), "float32")
    y_true[0, 0, 0] = 1
    y_pred = np.full((1, 8, 7, 1), 0.2, "float32")  # the object costs more than all others
    gradient = grad(
        lambda p: ops.sum(kerasloss.top_k_cross_entropy(y_true, p, fraction=0.25)), y_pred
    )[0, ..., 0]
    np.testing.assert_allclose(gradient[0, 0], -1 / 0.2 / 14, rtol=1e-5)
    others = np.delete(gradient.ravel(), 0)
    np.testing.assert_allclose(others, 13 / 55 / 0.8 / 14, rtol=1e-5)  # 13 of 55 count


def test_hardest_pixels_compiled_and_of_unknown_size():
    y_true, y_pred, weight = Case(3, weight="pixel").data(seed=67)
    for options in ({}, {"sample_weight": ops.convert_to_tensor(weight)}):
        expected = array(kerasloss.top_k_cross_entropy(y_true, y_pred, **options))
        compiled = jit(
            lambda t, p, options=options: kerasloss.top_k_cross_entropy(t, p, **options)
        )(ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred))
        np.testing.assert_allclose(array(compiled), expected, rtol=1e-6)
    model = keras.Sequential(
        [keras.Input((None, None, 1)), keras.layers.Conv2D(3, 1, activation="softmax")]
    )
    model.compile("sgd", loss=kerasloss.TopKCrossEntropy())
    history = model.fit(np.ones((*y_true.shape, 1)), y_true, verbose=0).history
    assert np.isfinite(history["loss"]).all()
