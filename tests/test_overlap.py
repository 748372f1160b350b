"""What is special about single losses on overlap, beyond the contract."""

import numpy as np
import pytest
from backend_tools import array, grad, jit, value_and_grad
from cases import Case
from keras import ops

import kerasloss

OVERLAP = [kerasloss.dice, kerasloss.iou, kerasloss.tversky]
one_and_three = pytest.mark.parametrize("channels", [1, 3])


def name(item):
    return getattr(item, "__name__", str(item))


def check(actual, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(array(actual), expected, rtol=rtol, atol=atol)


def gradient(loss, y_true, y_pred, **options):
    return grad(lambda p: ops.sum(loss(y_true, p, **options)), y_pred)


def hard(y_pred):
    if y_pred.shape[-1] == 1:
        return (y_pred > 0.5).astype("float32")
    return np.eye(y_pred.shape[-1], dtype="float32")[y_pred.argmax(-1)]


# ---- forms of Dice, IoU and Tversky -------------------------------------------------------------


@one_and_three
@pytest.mark.parametrize(
    ("loss", "options"),
    [(loss, {"soft_labels": True}) for loss in OVERLAP]
    + [(kerasloss.dice, {"squared": True}), (kerasloss.jaccard_distance, {})],
    ids=name,
)
def test_soft_target_predicted_exactly_costs_nothing(loss, options, channels):
    y_true, _, _ = Case(channels, target="soft").data(seed=60)
    value, slope = value_and_grad(lambda p: ops.sum(loss(y_true, p, **options)), y_true)
    np.testing.assert_allclose(value, 0, atol=1e-6)
    if loss is not kerasloss.tversky:  # a kink: the mean of both slopes, 0 where they are opposite
        np.testing.assert_allclose(slope, 0, atol=1e-7)
    assert np.all(array(loss(y_true, 0.9 * y_true, **options)) > 1e-3)


@pytest.mark.parametrize("loss", OVERLAP, ids=name)
def test_without_soft_labels_it_costs(loss):
    y_true, _, _ = Case(1, target="soft").data(seed=60)
    assert np.all(array(loss(y_true, y_true)) > 0.1)


@one_and_three
@pytest.mark.parametrize("loss", OVERLAP, ids=name)
def test_soft_labels_change_nothing_for_hard_ones(loss, channels):
    y_true, y_pred, _ = Case(channels).data(seed=61)
    check(loss(y_true, y_pred, soft_labels=True), array(loss(y_true, y_pred)))
    actual = gradient(loss, y_true, y_pred, soft_labels=True)
    np.testing.assert_allclose(actual, gradient(loss, y_true, y_pred), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("loss", [kerasloss.dice, kerasloss.iou], ids=name)
def test_squares_need_no_soft_labels(loss):
    y_true, y_pred, _ = Case(3, target="soft").data(seed=62)
    expected = array(loss(y_true, y_pred, squared=True))
    np.testing.assert_array_equal(
        array(loss(y_true, y_pred, squared=True, soft_labels=True)), expected
    )


@one_and_three
def test_jaccard_distance_is_iou_with_squares(channels):
    y_true, y_pred, weight = Case(channels, target="soft", weight="pixel").data(seed=63)
    options = {"sample_weight": weight, "smooth": 0.3}
    expected = array(kerasloss.iou(y_true, y_pred, squared=True, **options))
    np.testing.assert_array_equal(
        array(kerasloss.jaccard_distance(y_true, y_pred, **options)), expected
    )


@pytest.mark.parametrize("option", ["squared", "soft_labels"])
def test_form_that_is_no_boolean_is_refused(option):
    y_true, y_pred, _ = Case(1).data()
    with pytest.raises(ValueError, match=option):
        kerasloss.IoU(**{option: 2})
    with pytest.raises(ValueError, match=option):
        kerasloss.iou(y_true, y_pred, **{option: 2})


# ---- FocalTversky, LogCoshDice ------------------------------------------------------------------


def test_focal_tversky_takes_the_power_of_each_class():
    """Not of the mean, which is something else for an exponent that is not 1."""
    y_true, y_pred, _ = Case(3).data(seed=64)
    each = [array(kerasloss.tversky(y_true, y_pred, class_weight=np.eye(3)[c])) for c in range(3)]
    check(kerasloss.focal_tversky(y_true, y_pred, gamma=0.75), np.mean(np.power(each, 0.75), 0))
    check(kerasloss.focal_tversky(y_true, y_pred, gamma=1.0), np.mean(each, 0))


@pytest.mark.parametrize("gamma", [0.3, 0.75, 4 / 3])
def test_focal_tversky_close_to_perfect(gamma):
    """Finite slope at a perfect overlap, no jump on the way there, and never flat."""
    y_true, y_pred = np.ones((1, 1), "float32"), np.ones((1, 1, 1), "float32")
    options = {"gamma": gamma, "smooth": 0.0, "alpha": 1.0, "beta": 1.0}  # 1 - TI = 1 - p
    slope = gradient(kerasloss.focal_tversky, y_true, y_pred, **options)
    np.testing.assert_allclose(slope, -(1e-7 ** (gamma - 1)), rtol=1e-4)

    # Half a false alarm beside one hit, weighed by alpha = 2 x: 1 - TI = x / (1 + x).
    y_true, y_pred = np.array([[1, 0]], "float32"), np.array([[[1.0], [0.5]]], "float32")
    for x in (1e-2, 1e-4, 1.1e-7, 0.9e-7, 1e-9):
        options["alpha"] = 2 * x
        expected = x**gamma if x > 1e-7 else x * 1e-7 ** (gamma - 1)
        value, slope = value_and_grad(
            lambda p, options=dict(options): ops.sum(kerasloss.focal_tversky(y_true, p, **options)),
            y_pred,
        )
        np.testing.assert_allclose(value, expected, rtol=0.02)
        steepness = gamma if x > 1e-7 else 1.0
        np.testing.assert_allclose(slope[0, 1, 0], 2 * steepness * expected, rtol=0.03)


def test_log_cosh_dice_keeps_its_digits_near_zero():
    """log(cosh(x)) is x^2 / 2 there, which 1 + x^2 / 2 in float32 cannot hold."""
    y_true = np.ones((1, 100), "float32")
    y_pred = np.full((1, 100, 1), 1 - 2**-12, "float32")
    x = 2**-12 / (2 - 2**-12)
    value, slope = value_and_grad(
        lambda p: ops.sum(kerasloss.log_cosh_dice(y_true, p, smooth=0.0)), y_pred
    )
    np.testing.assert_allclose(value, x**2 / 2, rtol=1e-3)
    dice = gradient(kerasloss.dice, y_true, y_pred, smooth=0.0)
    np.testing.assert_allclose(slope, np.tanh(x) * dice, rtol=1e-3)


@pytest.mark.parametrize("loss", [kerasloss.cb_dice, kerasloss.generalized_dice], ids=name)
def test_absent_background_has_no_size(loss):
    """A rounding error in its place would be the rarest class, and decide everything."""
    rng = np.random.default_rng(69)
    y_true = np.ones((1, 64, 64), "float32")
    y_pred = rng.random((1, 64, 64, 1), "float32")
    weight = rng.random((1, 64, 64), "float32")
    data = [ops.convert_to_tensor(item) for item in (y_true, y_pred, weight)]
    compiled = jit(lambda y, p, w: loss(y, p, sample_weight=w, smooth=0.0))
    weight, p = weight.astype("float64"), y_pred[..., 0].astype("float64")
    hit, miss = (weight * p).sum(), (weight * (1 - p)).sum()
    if loss is kerasloss.cb_dice:
        expected = miss / (2 * hit + miss)  # of the foreground alone
    else:
        expected = 2 * miss / (2 * hit + 2 * miss)  # the absent background is as rare
    check(compiled(*data), [expected])


# ---- GeneralizedDice ----------------------------------------------------------------------------


def test_generalized_dice_on_background_alone():
    """Every false positive is pushed down, however many there are: the slope does not fade."""
    y_true = np.zeros((1, 4, 5), "float32")
    for p in (0.0, 0.01, 0.5, 1.0):
        y_pred = np.full((1, 4, 5, 1), p, "float32")
        check(kerasloss.generalized_dice(y_true, y_pred), [p])
        slope = gradient(kerasloss.generalized_dice, y_true, y_pred)
        np.testing.assert_allclose(slope, 1 / 20, rtol=1e-5)


def test_generalized_dice_of_an_absent_class():
    """It weighs as much as the rarest class that is there: here 3 pixels of class 1, w = 1."""
    y_true = np.array([[1, 1, 1, 0, 0, 0, 0, 0, 0]], "float32")
    y_pred = np.eye(3, dtype="float32")[[[1, 1, 1, 0, 0, 0, 0, 0, 2]]]
    rare = 0.25  # (3 / 6) ** 2 for the background, of which one pixel is lost
    check(
        kerasloss.generalized_dice(y_true, y_pred, smooth=0.0),
        [(rare * 1 + 1) / (rare * 11 + 6 + 1)],
    )


def test_generalized_dice_beside_a_large_background():
    """Few errors on a quarter of a million pixels are not lost among their rounding errors."""
    y_true = np.zeros((1, 512, 512), "float32")
    y_true[0, 100:120, 100:120] = 1
    y_pred = np.where(y_true == 1, 1 - 2.0**-14, 2.0**-21)[..., None].astype("float32")
    miss, false_alarm = 400 * 2.0**-14, (512**2 - 400) * 2.0**-21
    rare, error = (400 / (512**2 - 400)) ** 2, miss + false_alarm
    whole = 800 - miss + false_alarm + rare * (2 * (512**2 - 400) + miss - false_alarm)
    expected = (1 + rare) * error / whole
    value = array(kerasloss.generalized_dice(y_true, y_pred, smooth=0.0))
    np.testing.assert_allclose(value, [expected], rtol=1e-3)


@one_and_three
def test_generalized_dice_of_a_tiny_class(channels):
    """1 / size^2 would leave the range of float32."""
    y_true, y_pred, _ = Case(channels).data(seed=65)
    weight = np.where(y_true == 1, 1e-25, 1.0).astype("float32")
    value, slope = value_and_grad(
        lambda p: ops.sum(kerasloss.generalized_dice(y_true, p, sample_weight=weight)), y_pred
    )
    assert np.isfinite(value) and np.all(np.isfinite(slope)) and np.any(slope != 0)


# ---- MCC ----------------------------------------------------------------------------------------


def test_mcc_treats_both_classes_alike():
    y_true, y_pred, weight = Case(1, weight="pixel").data(seed=66)
    expected = array(kerasloss.mcc(y_true, y_pred, sample_weight=weight))
    check(kerasloss.mcc(1 - y_true, 1 - y_pred, sample_weight=weight), expected)


def test_mcc_from_perfect_to_opposite():
    y_true, _, _ = Case(1).data(seed=66)
    right = y_true[..., None]
    check(kerasloss.mcc(y_true, right, smooth=0.0), [0, 0])
    check(kerasloss.mcc(y_true, 0.3 + 0 * right, smooth=0.0), [1, 1])  # a constant is no guess
    check(kerasloss.mcc(y_true, 1 - right, smooth=0.0), [2, 2])


@pytest.mark.parametrize("weight", [1e-8, 1e12])
def test_mcc_of_any_number_of_pixels(weight):
    """A product of four counts of 1e12 is not a float32."""
    y_true, y_pred, _ = Case(3).data(seed=67)
    pixels = np.full(y_true.shape, weight, "float32")
    expected = array(kerasloss.mcc(y_true, y_pred, smooth=0.0))
    check(kerasloss.mcc(y_true, y_pred, sample_weight=pixels, smooth=0.0), expected)


def test_mcc_close_to_perfect_has_no_noise():
    y_true, _, _ = Case(1, space=(40, 50)).data(seed=68)
    y_pred = np.where(y_true == 1, 1.0, 2.0**-14)[..., None].astype("float32")
    false_alarm = 2.0**-14 * (1 - y_true).sum(axis=(1, 2), dtype="float64")
    tp, tn = y_true.sum(axis=(1, 2), dtype="float64"), (1 - 2.0**-14) / 2.0**-14 * false_alarm
    expected = 1 - tp * tn / np.sqrt((tp + false_alarm) * tp * (tn + false_alarm) * tn)
    check(kerasloss.mcc(y_true, y_pred, smooth=0.0), expected, rtol=5e-3, atol=0)


@pytest.mark.parametrize("label", [0, 1])
def test_mcc_of_one_class_alone(label):
    """The more of the absent class is predicted the worse, up to 1."""
    y_true = np.full((5, 4, 5), label, "float32")
    wrong = np.array([0.0, 0.01, 0.3, 0.9, 1.0], "float32")
    y_pred = np.broadcast_to(abs(label - wrong)[:, None, None, None], (5, 4, 5, 1)).copy()
    values = array(kerasloss.mcc(y_true, y_pred))
    np.testing.assert_allclose(values[0], 0, atol=1e-6)
    assert np.all(np.diff(values) > 0.03) and 0.9 < values[-1] <= 1
    slope = gradient(kerasloss.mcc, y_true, y_pred)
    assert np.all(slope * (1 - 2 * label) > 1e-4)


# ---- Lovasz -------------------------------------------------------------------------------------


@one_and_three
@pytest.mark.parametrize("weight", [None, "pixel"])
@pytest.mark.parametrize("pool", ["image", "batch"])
def test_lovasz_of_hard_predictions_is_the_jaccard_loss(channels, weight, pool):
    """That is what makes it an extension."""
    y_true, y_pred, weight = Case(channels, weight=weight).data(seed=70)
    options = {"sample_weight": weight, "pool": pool}
    expected = array(kerasloss.iou(y_true, hard(y_pred), smooth=0.0, **options))
    assert np.all(expected > 0.1)
    check(kerasloss.lovasz(y_true, hard(y_pred), **options), expected)


def test_lovasz_hinge_counts_the_margin():
    """Wrong by a logit of 1 is an error of 2; right by 1 or more is none."""
    y_true, y_pred, _ = Case(1).data(seed=71)
    logits = 2 * hard(y_pred) - 1
    expected = 2 * array(kerasloss.iou(y_true, hard(y_pred), smooth=0.0))
    check(kerasloss.lovasz(y_true, logits, from_logits=True), expected)


def test_lovasz_shares_out_the_whole_index():
    """The steps of J lead from 0 (all right) to 1 (all wrong): so do the sizes of the gradient."""
    y_true, y_pred, weight = Case(1, space=(40, 50), weight="pixel").data(seed=72)
    slope = gradient(kerasloss.lovasz, y_true, y_pred, sample_weight=weight)
    np.testing.assert_allclose(abs(slope).sum(axis=(1, 2, 3)), 1, rtol=1e-5)
    assert np.all((slope <= 0)[y_true == 1]) and np.all((slope >= 0)[y_true == 0])
    assert np.all((slope != 0)[(weight > 0) & (y_true == 1)])


def test_lovasz_of_an_absent_class():
    """Among several channels it is left out; one channel has nothing else to look at."""
    y_true = np.array([[0, 0, 1, 1, 1]], "float32")
    y_pred = np.random.default_rng(73).dirichlet(np.ones(3), size=(1, 5)).astype("float32")
    expected = array(kerasloss.lovasz(y_true, y_pred, class_weight=(1.0, 1.0, 0.0)))
    check(kerasloss.lovasz(y_true, y_pred), expected)
    check(kerasloss.lovasz(y_true, y_pred, class_weight=(1.0, 1.0, 9.0)), expected)

    foreground = np.array([[[0.2], [0.7], [0.4]]], "float32")
    weight = np.array([[1.0, 0.0, 3.0]], "float32")
    none = np.zeros((1, 3), "float32")
    value, slope = value_and_grad(
        lambda p: ops.sum(kerasloss.lovasz(none, p, sample_weight=weight)), foreground
    )
    np.testing.assert_allclose(value, 0.4)  # the .7 does not count
    np.testing.assert_array_equal(slope[0, :, 0], [0, 0, 1])


def test_lovasz_of_a_pixel_without_error():
    """No slope there, on every backend."""
    y_true, y_pred = np.array([[1, 1, 0]], "float32"), np.array([[[1.0], [0.5], [0.0]]], "float32")
    slope = gradient(kerasloss.lovasz, y_true, y_pred)
    np.testing.assert_allclose(slope[0, :, 0], [0, -1 / 2, 0], atol=1e-7)


def test_lovasz_of_equal_errors():
    """In order of the pixels, on every backend; the sum does not depend on it."""
    y_true = np.array([[1, 1, 0, 0]], "float32")
    y_pred = np.full((1, 4, 1), 0.5, "float32")
    value, slope = value_and_grad(lambda p: ops.sum(kerasloss.lovasz(y_true, p)), y_pred)
    np.testing.assert_allclose(value, 0.5)
    np.testing.assert_allclose(slope[0, :, 0], [-1 / 2, -1 / 2, 0, 0], atol=1e-7)
