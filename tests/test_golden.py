"""Values that can be followed with pencil and paper, each with its derivation.

Scene A is a 2x2 object in a 4x4 image, seen with some doubt; scene B has no object and p = 0.1.
In A the object's pixels have p = .8 .7 .9 .6, so TP = 3.0 and FN = 4 - 3.0 = 1.0; the other twelve
sum to FP = 1.7.
"""

import numpy as np
import pytest
from backend_tools import array, grad
from cases import Case
from keras import ops

import kerasloss

A_TRUE = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], "float32")
A_PRED = np.array(
    [[0.10, 0.20, 0.10, 0.05], [0.20, 0.80, 0.70, 0.30], [0.10, 0.90, 0.60, 0.20],
     [0.05, 0.10, 0.20, 0.10]], "float32"
)  # fmt: skip
A = A_TRUE[None], A_PRED[None, ..., None]
B = np.zeros((1, 4, 4), "float32"), np.full((1, 4, 4, 1), 0.1, "float32")
AB = tuple(np.concatenate(parts) for parts in zip(A, B, strict=True))
A_SOFTMAX = A[0], np.concatenate([1 - A[1], A[1]], axis=-1)  # the same scene in two channels

TP, FP, FN = 3.0, 1.7, 1.0
P_RIGHT = np.where(A_TRUE == 1, A_PRED, 1 - A_PRED).astype("float64")  # p of the true class
ENTROPY = -np.log(P_RIGHT)


def check(actual, expected):
    np.testing.assert_allclose(array(ops.convert_to_tensor(actual)), expected, rtol=0, atol=2e-6)


def test_iou():
    check(kerasloss.iou(*A, smooth=0), [1 - TP / (TP + FP + FN)])
    check(kerasloss.iou(*A, smooth=0), [0.473684])
    check(kerasloss.iou(*A, smooth=1), [0.402985])  # 1 - 4 / 6.7
    check(kerasloss.iou(*B, smooth=0), [1.0])  # 1 - 0 / 1.6
    check(kerasloss.iou(*B, smooth=1), [0.615385])  # 1 - 1 / 2.6


def test_iou_pools():
    check(kerasloss.IoU(smooth=0)(*AB), 0.736842)  # the mean of .473684 and 1
    check(kerasloss.IoU(smooth=0, pool="batch")(*AB), 0.589041)  # 1 - 3 / (5.7 + 1.6)
    check(kerasloss.iou(*AB, smooth=0, pool="batch"), [0.589041, 0.589041])


def test_iou_gradient_of_rahman_and_wang():
    """-1/U on the object and I/U^2 beside it, with I = TP and U the union."""
    gradient = grad(lambda p: ops.sum(kerasloss.iou(A[0], p, smooth=0)), A[1])[0, ..., 0]
    union = TP + FP + FN
    check(gradient, np.where(A_TRUE == 1, -1 / union, TP / union**2))


def test_dice():
    check(kerasloss.dice(*A, smooth=0), [0.310345])  # 1 - 6 / 8.7
    check(kerasloss.dice(*A, smooth=1), [1 - 7 / 9.7])


def test_tversky():
    # alpha weighs FP and beta FN: 1 - 3 / (3 + .3 * 1.7 + .7 * 1.0); swapped it would be .3198
    check(kerasloss.tversky(*A, alpha=0.3, beta=0.7, smooth=0), [0.287411])


def test_tversky_contains_dice_and_iou():
    y_true, y_pred, _ = Case(3, target="soft").data(seed=40)
    half = kerasloss.tversky(y_true, y_pred, alpha=0.5, beta=0.5, smooth=0.5)
    check(half, array(kerasloss.dice(y_true, y_pred, smooth=1.0)))  # smooth halves with the sums
    whole = kerasloss.tversky(y_true, y_pred, alpha=1.0, beta=1.0)
    check(whole, array(kerasloss.iou(y_true, y_pred)))


def test_squared():
    # sum p^2 = 2.3 on the object and .305 beside it; sum (p - y)^2 = .3 + .305
    squares = 2.3 + 0.305
    check(kerasloss.dice(*A, smooth=0, squared=True), [1 - 6 / (squares + 4)])
    check(kerasloss.dice(*A, smooth=0, squared=True), [0.605 / 6.605])
    check(kerasloss.dice(*A, smooth=1, squared=True), [0.605 / 7.605])
    check(kerasloss.iou(*A, smooth=0, squared=True), [1 - 3 / (squares + 4 - 3)])


def test_jaccard_distance():
    check(kerasloss.jaccard_distance(*A, smooth=0), [0.167822])  # Yuan
    check(kerasloss.jaccard_distance(*A, smooth=1), [1 - 4 / (2.605 + 4 - 3 + 1)])
    check(kerasloss.jaccard_distance(*B, smooth=1), [0.16 / 1.16])


def test_soft_labels():
    # y = .6 where p = .8 .7 .9 .6 and .1 beside: |p - y| sums to .6 on the object
    target = np.where(A_TRUE == 1, 0.6, 0.1)
    beside = abs(A_PRED - 0.1)[A_TRUE == 0].sum()
    error, total = 0.6 + beside, 4.7 + 2.4 + 1.2
    options = {"smooth": 0, "soft_labels": True}
    check(kerasloss.dice(target[None], A[1], **options), [error / total])
    check(kerasloss.iou(target[None], A[1], **options), [error / ((total + error) / 2)])


def test_focal_tversky():
    check(kerasloss.focal_tversky(*A, smooth=0), [0.392534])  # .287411 ^ .75
    check(kerasloss.focal_tversky(*A, gamma=2.0, smooth=0), [0.287411**2])


def test_log_cosh_dice():
    check(kerasloss.log_cosh_dice(*A, smooth=0), [0.047403])
    check(kerasloss.log_cosh_dice(*A, smooth=0), [np.log(np.cosh(0.310345))])


def test_generalized_dice():
    # Weights 1/4^2 and 1/12^2: 1 - 2 (3/16 + 10.3/144) / (8.7/16 + 23.3/144)
    check(kerasloss.generalized_dice(*A), [0.265748])
    check(kerasloss.generalized_dice(*A_SOFTMAX), [0.265748])
    check(kerasloss.generalized_dice(*B), [0.1])  # the share of false positives


def test_mcc():
    correlation = (TP * 10.3 - FP * FN) / np.sqrt((TP + FP) * (TP + FN) * (10.3 + FP) * (10.3 + FN))
    check(kerasloss.mcc(*A, smooth=0), [1 - correlation])
    check(kerasloss.mcc(*A, smooth=0), [0.421672])  # 1 - 29.2 / 50.4904
    check(kerasloss.mcc(*A_SOFTMAX, smooth=0), [0.421672])
    # B with one pixel more in TP and in TN: TP 1, FP 1.6, FN 0, TN 15.4
    check(kerasloss.mcc(*B, smooth=1), [1 - 15.4 / np.sqrt(2.6 * 1.0 * 17.0 * 15.4)])


def test_lovasz():
    check(kerasloss.lovasz(*A), [0.273889])
    check(kerasloss.lovasz(*A_SOFTMAX), [0.225047])  # the mean of background and foreground
    check(kerasloss.lovasz(*A, class_weight=(1.0, 1.0)), [0.225047])
    check(kerasloss.lovasz(*B), [0.1])  # nothing to find: the largest error


def test_lovasz_hinge():
    def logit(p):
        return np.log(p / (1 - p))

    check(kerasloss.lovasz(A[0], logit(A[1]), from_logits=True), [0.202079])
    check(kerasloss.lovasz(B[0], logit(B[1]), from_logits=True), [0.0])  # a margin of 1.2 + 1


def test_cross_entropy():
    check(kerasloss.cross_entropy(*A), [0.192165])
    check(kerasloss.cross_entropy(*A), [ENTROPY.mean()])
    check(kerasloss.cross_entropy(*A_SOFTMAX), [0.192165])


def test_weighted_cross_entropy():
    # (1 + (3 - 1) y) on each pixel's entropy, divided by the number of pixels
    check(kerasloss.weighted_cross_entropy(*A, positive_weight=3.0), [0.341666])
    check(kerasloss.weighted_cross_entropy(*A, positive_weight=1.0), [0.192165])
    check(kerasloss.weighted_cross_entropy(*A_SOFTMAX, positive_weight=3.0), [0.341666])


def test_focal():
    # .25 (1 - p)^2 on the object, .75 p^2 beside it, times the entropy
    check(kerasloss.focal(*A, gamma=2.0, alpha=0.25), [0.005372])
    check(kerasloss.focal(*A_SOFTMAX, gamma=2.0, alpha=0.25), [0.005372])
    check(kerasloss.focal(*A, gamma=0.0), [0.192165])  # without focus it is cross-entropy


def test_poly():
    # Cross-entropy plus the mean of 1 - p: (1.7 + 1.0) / 16. With focus .005372 + (1 - p)^3, which
    # alpha does not weigh.
    check(kerasloss.poly(*A), [0.360915])
    check(kerasloss.poly(*A), [0.192165 + (FP + FN) / 16])
    check(kerasloss.poly(*A, gamma=2.0, alpha=0.25), [0.015637])
    check(kerasloss.poly(*A_SOFTMAX, gamma=2.0, alpha=0.25), [0.015637])


def test_asymmetric():
    # (1 - p) on the object; q^4 with q = p - .05 beside it.
    check(kerasloss.asymmetric(*A), [0.367952 / 16])
    shifted = np.maximum(A_PRED.astype("float64") - 0.05, 0)
    cost = np.where(A_TRUE == 1, (1 - P_RIGHT) * ENTROPY, -(shifted**4) * np.log(1 - shifted))
    check(kerasloss.asymmetric(*A), [cost.mean()])


def test_top_k_cross_entropy():
    # A tenth of 16 pixels is 1.6: the object's p = .6 and six tenths of its p = .7, which costs as
    # much as the pixel beside it with p = .3.
    hardest = (-np.log(0.6) - 0.6 * np.log(0.7)) / 1.6
    check(kerasloss.top_k_cross_entropy(*A), [hardest])
    check(kerasloss.top_k_cross_entropy(*A_SOFTMAX), [hardest])
    check(kerasloss.top_k_cross_entropy(*A, fraction=0.01), [-np.log(0.6)])


def test_unified_focal():
    """Its parts by themselves, then half of each."""
    for symmetric, entropy, region, whole in [
        (False, 0.064452, 0.334015, 0.199233),
        (True, 0.044034, 0.447475, 0.245755),
    ]:
        for scene in (A, A_SOFTMAX):
            options = {"symmetric": symmetric}
            check(kerasloss.unified_focal(*scene, weight=1.0, **options), [entropy])
            check(kerasloss.unified_focal(*scene, weight=0.0, **options), [region])
            check(kerasloss.unified_focal(*scene, **options), [whole])
    # 1 - TI of the background and of the object, in which FN weighs .6 (FN of one is FP of other)
    background = (0.6 * FP + 0.4 * FN) / (10.3 + 0.6 * FP + 0.4 * FN)
    foreground = (0.6 * FN + 0.4 * FP) / (TP + 0.6 * FN + 0.4 * FP)
    expected = (background + np.sqrt(foreground)) / 2
    check(kerasloss.unified_focal(*A, weight=0.0), [expected])


def test_adaptive_focal():
    """gamma = 4/16 + s. Around the object |grad m| is 1 on eight pixels and sqrt(1/2) on its four.

    (Central differences across the 2x2 object in a row of four: 1, .5, -.5, -1.)
    """
    total = 8 + 4 * np.sqrt(0.5)
    alpha = np.where(A_TRUE == 1, 0.75, 0.25)  # 1 - share of the class
    for smoothness, pixels, gamma in [("volume", 16, 0.926777), ("surface", 12, 1.152369)]:
        assert gamma == pytest.approx(0.25 + total / pixels, abs=1e-6)
        expected = (alpha * (1 - P_RIGHT) ** gamma * ENTROPY).mean()
        check(kerasloss.adaptive_focal(*A, smoothness=smoothness), [expected])
        check(kerasloss.adaptive_focal(*A_SOFTMAX, smoothness=smoothness), [expected])
    check(kerasloss.adaptive_focal(*A, smoothness="volume"), [0.024697])


def test_exponential():
    """The published value less what a perfect prediction costs.

    One channel: .8 e^-1 + 1 on each of the 4 object pixels, .8 + e^-1 on the other 12.
    Two channels: .9 (1 + e^-1) on every pixel.
    """
    least = (4 * (0.8 * np.exp(-1) + 1) + 12 * (0.8 + np.exp(-1))) / 16
    check(kerasloss.exponential(*A), [1.263829 - least])
    check(kerasloss.exponential(*A_SOFTMAX), [1.293836 - 0.9 * (1 + np.exp(-1))])
    check(kerasloss.exponential(*A_SOFTMAX), [0.9 * (np.exp(-P_RIGHT) - np.exp(-1)).mean()])


def test_cb_dice():
    # A quarter of the pixels is object, so the weights 1/.25 and 1/.75 become .75 and .25.
    # Background: TP = 12 - 1.7 = 10.3, FP and FN change places.
    score = 0.25 * 20.6 / 23.3 + 0.75 * 6 / 8.7
    check(kerasloss.cb_dice(*A), [1 - score])
    check(kerasloss.cb_dice(*A), [0.261728])
    check(kerasloss.cb_dice(*A_SOFTMAX), [0.261728])
    check(kerasloss.cb_dice(A[0], A[0][..., None]), [0.0])


def test_distance_map():
    # Every pixel of a 2x2 object is as deep as any other: 1 - t / max t = 0, plain cross-entropy.
    check(kerasloss.distance_map(*A, kind="object"), [0.192165])
    check(kerasloss.distance_map(*A, kind="image"), [0.289998])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # rim 1 - 1/3, then 1 - 2/3, centre 0, background 0
        ("object", [0, 2 / 3, 1 / 3, 0, 1 / 3, 2 / 3, 0]),
        # inside (3 - t) / 2; outside 1 beside the object and 0 in the far corners only
        ("image", [1, 1, 0.5, 0, 0.5, 1, 1]),
    ],
)
def test_distance_weights_across_a_square(kind, expected):
    """A 5x5 square in 7x7. At p = 1/2 the gradient of a pixel is 2 (1 + D) / 49: D can be read."""
    y_true = np.zeros((1, 7, 7), "float32")
    y_true[0, 1:6, 1:6] = 1
    y_pred = np.full((1, 7, 7, 1), 0.5, "float32")
    gradient = grad(lambda p: ops.sum(kerasloss.distance_map(y_true, p, kind=kind)), y_pred)
    weights = abs(gradient[0, ..., 0]) * 49 / 2 - 1
    np.testing.assert_allclose(weights[3], expected, atol=1e-5)
    np.testing.assert_allclose(weights[[0, 0, 6, 6], [0, 6, 0, 6]], 0, atol=1e-5)


def test_distance_map_deepens_each_object_by_itself():
    """A line with objects of 5 and 3 pixels: t = 1 2 3 2 1 and 1 2 1, each over its own maximum."""
    y_true = np.array([[0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0]], "float32")
    y_pred = np.full((1, 11, 1), 0.5, "float32")
    gradient = grad(lambda p: ops.sum(kerasloss.distance_map(y_true, p)), y_pred)
    weights = abs(gradient[0, :, 0]) * 11 / 2 - 1
    expected = [0, 2 / 3, 1 / 3, 0, 1 / 3, 2 / 3, 0, 1 / 2, 0, 1 / 2, 0]
    np.testing.assert_allclose(weights, expected, atol=1e-5)


def test_cl_dice():
    """A 2x2 object is its own skeleton: its topology sensitivity is (3 + 1) / (4 + 1)."""
    check(kerasloss.cl_dice(*A, alpha=1.0), [0.134121])
    check(kerasloss.cl_dice(*A, alpha=0.0), [1 - 7 / 9.7])
    check(kerasloss.cl_dice(*A), [(0.134121 + 1 - 7 / 9.7) / 2])
    check(kerasloss.cl_dice(*A_SOFTMAX, alpha=1.0, class_weight=(0, 1)), [0.134121])
