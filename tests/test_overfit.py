"""Every loss leads to the truth: gradient steps on the logits of one small image end there.

A gradient that agrees with its own loss may still belong to a loss that is minimised elsewhere.
"""

import numpy as np
import pytest
from backend_tools import compiled_value_and_grad
from cases import LOSSES
from keras import ops

import kerasloss

STEPS, RATE = 60, 0.2
SIZE = 12


def truth(channels):
    """A disc of radius 3.5; with three channels a ring of class 1 around it."""
    row, column = np.mgrid[:SIZE, :SIZE] - 5.5
    distance = np.hypot(row, column)
    if channels == 1:
        return (distance < 3.5).astype("float32")[None]
    return np.select([distance < 2.5, distance < 4.5], [2, 1], 0).astype("float32")[None]


def adam(gradient_at, x):
    """Plain Adam, as published."""
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for step in range(1, STEPS + 1):
        gradient = gradient_at(x)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        scale = np.sqrt(square / (1 - 0.999**step)) + 1e-12
        x = x - RATE * mean / (1 - 0.9**step) / scale
    return x


def worst_dice(labels, logits):
    """Of the hard prediction, in the class where it is lowest."""
    predicted = logits.argmax(-1) if logits.shape[-1] > 1 else logits[..., 0] > 0
    scores = []
    for c in range(1, int(labels.max()) + 1):
        truth, found = labels == c, predicted == c
        scores.append(2 * (truth & found).sum() / (truth.sum() + found.sum()))
    return min(scores)


def start(channels):
    rng = np.random.default_rng(110)
    return rng.normal(scale=0.3, size=(1, SIZE, SIZE, channels)).astype("float32")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_overfit(loss, channels):
    labels, instance = truth(channels), loss(from_logits=True)
    step = compiled_value_and_grad(lambda z: instance(labels, z))
    before = start(channels)
    assert worst_dice(labels, before) < 0.6
    after = adam(lambda z: step(z)[1], before)
    assert step(after)[0] < step(before)[0]
    # A loss may leave a few pixels to others, such as a distance that is 0 on the boundary itself.
    moved = np.any(after != before, axis=-1)
    assert moved.mean() > 0.75
    assert worst_dice(labels[moved], after[moved]) > 0.9


def test_overfit_of_overlapping_classes():
    """A disc within a disc: no softmax could give both."""
    outer = truth(1)
    inner = np.where(np.roll(outer, 2, axis=1) * outer > 0, 1, 0)
    y_true = np.stack([outer, inner], axis=-1).astype("float32")
    loss = kerasloss.Multilabel(kerasloss.Dice(from_logits=True))
    step = compiled_value_and_grad(lambda z: ops.sum(loss(y_true, z)))
    after = adam(lambda z: step(z)[1], start(2))
    for channel in range(2):
        assert worst_dice(y_true[..., channel], after[..., channel : channel + 1]) > 0.9
