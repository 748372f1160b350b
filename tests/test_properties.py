"""What holds for every loss whatever it is fed with, looked for in random scenes.

The contract tests ask the same of a few fixed inputs; here hypothesis varies what is in the images,
how sure the prediction is, and what counts. Each scene is a batch with an image of every kind: a
larger batch costs no time, another example does. All scenes have one size, so that no backend has
to compile anew for each.
"""

import dataclasses

import numpy as np
import pytest
from backend_tools import array, value_and_grad
from cases import LOSSES, probabilities, twin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import ops
from test_contract import has, is_spatial

import kerasloss

pytestmark = pytest.mark.once

SPACE = (4, 6)
PIXELS = SPACE[0] * SPACE[1]
IMAGES = 10

few_examples = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)


def losses_where(wanted):
    chosen = [loss for loss in LOSSES if wanted(loss)]
    return pytest.mark.parametrize("loss", chosen, ids=lambda loss: loss.__name__)


def sets_background_apart(loss):
    """Class 0 is not one of many to a loss with one of these options."""
    options = ("positive_weight", "smoothness", "kind", "delta")
    return any(has(loss, option) for option in options)


@dataclasses.dataclass(frozen=True)
class Scene:
    """Images of every kind: labels, logits and pixel weights."""

    channels: int
    seed: int
    weighted: bool
    surest: float  # the scale of the logits of the surest images

    @property
    def classes(self):
        return max(self.channels, 2)

    def rng(self, what):
        return np.random.default_rng([self.seed, what])

    @property
    def labels(self):
        labels = self.rng(0).integers(0, self.classes, (IMAGES, *SPACE))
        labels[:4] = 0  # empty
        labels[2:4, 1, 2] = self.classes - 1  # one pixel
        labels[4:6] = self.classes - 1  # full
        return labels.astype("float32")

    @property
    def one_hot(self):
        if self.channels == 1:
            return self.labels[..., None]
        return np.eye(self.channels, dtype="float32")[self.labels.astype(int)]

    @property
    def logits(self):
        z = self.rng(1).normal(size=(IMAGES, *SPACE, self.channels))
        z[::2] *= self.surest
        return z.astype("float32")

    @property
    def p(self):
        """In float64 first, so that it is the probability of these very logits."""
        return probabilities(self.logits.astype("float64")).astype("float32")

    @property
    def weight(self):
        if not self.weighted:
            return np.ones((IMAGES, *SPACE), "float32")
        return self.rng(2).choice([0.0, 0.5, 1.0, 2.5], (IMAGES, *SPACE)).astype("float32")

    @property
    def out(self):
        """Pixels to leave out, some in each image."""
        out = self.rng(3).random((IMAGES, *SPACE)) < 0.4
        out[:, 0, 0], out[:, 0, 1] = True, False
        return out


def scenes(channels=(1, 3), surest=30.0):
    """By default up to predictions that are exactly 0 or 1 in float32."""
    return st.builds(
        Scene,
        channels=st.sampled_from(channels),
        seed=st.integers(0, 10**6),
        weighted=st.booleans(),
        surest=st.just(surest),
    )


smoothing = st.floats(0, 10, allow_subnormal=False)


def values(loss, y_true, y_pred, weight=None, **options):
    """The value of every image, as a tensor."""
    cheap = {"iterations": 2} if has(loss, "iterations") else {}
    return twin(loss)(y_true, y_pred, sample_weight=weight, **cheap, **options)


def value(*args, **options):
    return array(values(*args, **options))


def check(actual, expected, rtol=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=2e-6)


@every_loss
@few_examples
@given(scene=scenes())
def test_it_is_a_cost(loss, scene):
    total, gradient = value_and_grad(
        lambda p: ops.sum(values(loss, scene.labels, p, scene.weight)), scene.p
    )
    assert np.isfinite(total) and total >= -1e-6
    assert np.all(np.isfinite(gradient))


# ---- order --------------------------------------------------------------------------------------


@every_loss
@few_examples
@given(scene=scenes(), axis=st.sampled_from([1, 2]))
def test_mirrored_images(loss, scene, axis):
    mirrored = [np.flip(item, axis).copy() for item in (scene.one_hot, scene.p, scene.weight)]
    check(value(loss, *mirrored), value(loss, scene.one_hot, scene.p, scene.weight))


@every_loss
@few_examples
@given(scene=scenes())
def test_order_of_images(loss, scene):
    backwards = [item[::-1].copy() for item in (scene.one_hot, scene.p, scene.weight)]
    check(value(loss, *backwards), value(loss, scene.one_hot, scene.p, scene.weight)[::-1])


@losses_where(lambda loss: not is_spatial(loss))
@few_examples
@given(scene=scenes())
def test_order_of_pixels(loss, scene):
    order = scene.rng(4).permutation(PIXELS)
    shuffled = [
        item.reshape(IMAGES, PIXELS, -1)[:, order].reshape(item.shape)
        for item in (scene.one_hot, scene.p, scene.weight)
    ]
    check(value(loss, *shuffled), value(loss, scene.one_hot, scene.p, scene.weight))


@losses_where(lambda loss: not sets_background_apart(loss))
@few_examples
@given(scene=scenes(channels=[3]), order=st.permutations(range(3)))
def test_order_of_classes(loss, scene, order):
    shuffled = value(loss, scene.one_hot[..., order], scene.p[..., order], scene.weight)
    check(shuffled, value(loss, scene.one_hot, scene.p, scene.weight))


@losses_where(sets_background_apart)
def test_losses_that_set_the_background_apart(loss):
    """If this fails for a loss, it belongs to those whose classes may change places."""
    scene = Scene(3, 1, False, 2.0)
    swapped = value(loss, scene.one_hot[..., ::-1].copy(), scene.p[..., ::-1].copy())
    assert np.any(abs(swapped - value(loss, scene.one_hot, scene.p)) > 1e-4)


# ---- forms of the same --------------------------------------------------------------------------


@every_loss
@few_examples
@given(scene=scenes())
def test_labels_and_one_hot(loss, scene):
    expected = value(loss, scene.one_hot, scene.p, scene.weight)
    check(value(loss, scene.labels, scene.p, scene.weight), expected, rtol=1e-6)


@every_loss
@few_examples
@given(scene=scenes(surest=2.0))
def test_logits_and_probabilities(loss, scene):
    if scene.channels == 1 and getattr(loss, "margin", False):
        return  # one channel of logits is judged by its margin there
    expected = value(loss, scene.labels, scene.p, scene.weight)
    logits = value(loss, scene.labels, scene.logits, scene.weight, from_logits=True)
    check(logits, expected, rtol=1e-4)


# ---- weights ------------------------------------------------------------------------------------


@every_loss
@few_examples
@given(scene=scenes(), by=st.sampled_from(["sample_weight", "ignore_class"]))
def test_pixels_left_out(loss, scene, by):
    """Whatever is in them, and without a gradient."""
    options = {"ignore_class": 255} if by == "ignore_class" else {}
    weight = scene.weight if by == "ignore_class" else np.where(scene.out, 0, scene.weight)
    y_true = np.where(scene.out, 255, scene.labels) if options else scene.labels
    other_true = y_true if options else np.where(scene.out, 1 - np.minimum(y_true, 1), y_true)
    other_p = np.where(scene.out[..., None], scene.p[:, ::-1], scene.p)
    weight, y_true, other_true = (item.astype("float32") for item in (weight, y_true, other_true))

    def total(p):
        return ops.sum(values(loss, y_true, p, weight, **options))

    before, gradient = value_and_grad(total, scene.p)
    check(value(loss, other_true, other_p, weight, **options).sum(), before, rtol=1e-6)
    assert np.all(gradient[scene.out] == 0)


@losses_where(lambda loss: not is_spatial(loss))
@few_examples
@given(scene=scenes())
def test_weight_counts_copies(loss, scene):
    """As many of each weight in every scene: then the copies have one shape."""
    times = scene.rng(5).permutation([0, 1, 2, 3] * (PIXELS // 4))
    y_true, p = scene.one_hot.reshape(IMAGES, PIXELS, -1), scene.p.reshape(IMAGES, PIXELS, -1)
    weight = np.stack([times] * IMAGES).astype("float32")
    expected = value(loss, np.repeat(y_true, times, 1), np.repeat(p, times, 1))
    check(value(loss, y_true, p, weight), expected)


@every_loss
@few_examples
@given(scene=scenes(channels=[3]), factor=st.sampled_from([0.1, 1.0, 7.0]))
def test_equal_class_weights(loss, scene, factor):
    expected = value(loss, scene.labels, scene.p, scene.weight)
    equal = value(loss, scene.labels, scene.p, scene.weight, class_weight=[factor] * 3)
    check(equal, expected)


# ---- special cases ------------------------------------------------------------------------------


@few_examples
@given(scene=scenes(), smooth=smoothing, pool=st.sampled_from(["image", "batch"]))
def test_dice_is_a_tversky(scene, smooth, pool):
    scores = scene.labels, scene.p, scene.weight
    dice = value(kerasloss.Dice, *scores, smooth=smooth, pool=pool)
    options = {"alpha": 0.5, "beta": 0.5, "smooth": smooth / 2, "pool": pool}
    check(value(kerasloss.Tversky, *scores, **options), dice)


@few_examples
@given(scene=scenes(), smooth=smoothing)
def test_iou_is_a_tversky(scene, smooth):
    scores = scene.labels, scene.p, scene.weight
    options = {"alpha": 1.0, "beta": 1.0, "smooth": smooth}
    check(
        value(kerasloss.Tversky, *scores, **options), value(kerasloss.IoU, *scores, smooth=smooth)
    )


@few_examples
@given(scene=scenes(), class_weight=st.booleans())
def test_focal_without_focus_is_cross_entropy(scene, class_weight):
    options = {"class_weight": [3.0, 1.0, 2.0][: scene.classes]} if class_weight else {}
    scores = scene.labels, scene.p, scene.weight
    expected = value(kerasloss.CrossEntropy, *scores, **options)
    check(value(kerasloss.Focal, *scores, gamma=0.0, **options), expected)


@few_examples
@given(scene=scenes(), weight=st.floats(0, 1, allow_subnormal=False))
def test_sum_is_the_sum(scene, weight):
    """Of losses that are added, at any weights."""
    scores = scene.labels, scene.p, scene.weight
    loss = (weight + 0.1) * kerasloss.Dice(reduction="none") + kerasloss.Focal(reduction="none")
    dice, focal = value(kerasloss.Dice, *scores), value(kerasloss.Focal, *scores)
    check(array(loss(*scores)), (weight + 0.1) * dice + focal)
