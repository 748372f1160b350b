"""What the contract tests run: the losses found in `kerasloss.losses.__all__`, and the inputs.

A loss is covered as soon as it is public: nothing is listed by name here. A constructor argument
of a new name needs one line in `OTHER_VALUE`, and the loss a function in `oracle/`.
"""

import inspect
from dataclasses import dataclass, field

import keras
import numpy as np
import oracle
import pytest
from scipy import ndimage

import kerasloss.losses

LOSSES = [
    item
    for item in (getattr(kerasloss.losses, name) for name in kerasloss.losses.__all__)
    if inspect.isclass(item) and issubclass(item, keras.losses.Loss)
    if item is not kerasloss.losses.SegmentationLoss  # the base: public, but no loss itself
]


def some_on_each(losses):
    """Parameters: every fourth loss on each backend, the others on the one that is quickest.

    For tests of what the losses have in common (config, algebra), not of what they compute.
    """
    return pytest.mark.parametrize(
        "loss",
        [
            pytest.param(loss, id=loss.__name__, marks=() if index % 4 == 1 else pytest.mark.once)
            for index, loss in enumerate(losses)
        ],
    )


def twin_name(loss):
    return loss().name  # the contract: the default name of the object is the name of its function


def twin(loss):
    return getattr(kerasloss.losses, twin_name(loss))


def reference(loss):
    return getattr(oracle, twin_name(loss))


# Tests of values need the oracle; one test reports a loss without it, so the others leave it out.
COMPARED = [loss for loss in LOSSES if hasattr(oracle, twin_name(loss))]

# The other legal value (or two) of every hyper-parameter, for each argument name.
OTHER_VALUE = {
    "positive_weight": [3.5],
    "gamma": [0.0, 0.5],
    "alpha": [0.25],
    "label_smoothing": [0.1],
    "epsilon": [0.0, -0.5, 2.0],
    "positive_gamma": [0.0, 0.5],
    "negative_gamma": [0.0, 0.5],
    "margin": [0.0, 0.2],
    "fraction": [0.5, 0.35, 1.0],
    "symmetric": [True],
    "delta": [0.0, 0.3],
    "weight": [0.0, 0.8],
    "beta": [0.4],
    "smoothness": ["surface", "volume"],
    "foreground_weight": [1.7],
    "smooth": [0.0, 0.3],
    "pool": ["image", "batch"],
    "kind": ["object", "image"],
    "iterations": [3],
    "squared": [True],
    "soft_labels": [True],
    "normalize": [False],
    "one_sided": [True],
    "log": [True],
    "spacing": [3],
    "precomputed": [False],
}
# Set to anything else, these want another y_true: see test_distance_maps.py.
FORM_OF_TARGET = {"precomputed"}
COMMON = {"from_logits", "class_weight", "ignore_class", "reduction", "name", "dtype"}


def hyper_parameters(loss):
    """Name to default of the arguments that belong to this loss alone."""
    signature = inspect.signature(loss.__init__).parameters
    return {
        name: parameter.default
        for name, parameter in signature.items()
        if name not in COMMON | {"self"}
    }


def other_values(loss):
    """(name, value) of every hyper-parameter set to something other than its default."""
    return [
        (name, value)
        for name, default in hyper_parameters(loss).items()
        for value in OTHER_VALUE[name]
        if value != default
    ]


@dataclass(frozen=True)
class Case:
    """One input to the losses: how many channels, which axes, which forms, which options."""

    channels: int
    space: tuple = (8, 7)
    # labels | labels1 (a last axis of one) | integers (labels of that dtype) | one_hot | soft
    target: str = "labels"
    weight: str | None = None  # None | image | pixel | pixel1
    options: dict = field(default_factory=dict)

    def data(self, seed=0):
        """`(y_true, y_pred, sample_weight)` of two images, as NumPy."""
        rng = np.random.default_rng([seed, self.channels, *self.space])
        shape = (2, *self.space)
        classes = max(self.channels, 2)
        # Blobs rather than noise, so that objects have an inside; one class is made the rarest.
        field_ = rng.normal(size=(*shape, classes))
        field_ = ndimage.gaussian_filter(field_, [0, *[0.9] * len(self.space), 0])
        field_[..., -1] -= 0.05
        labels = field_.argmax(axis=-1)
        z = rng.normal(scale=1.5, size=(*shape, self.channels)) + 0.4  # leans to false positives

        y_true = self._target(labels, classes, rng)
        if self.options.get("ignore_class") == 255:
            y_true = np.where(rng.random(y_true.shape) < 0.25, 255, y_true)
        y_pred = z if self.options.get("from_logits") else probabilities(z)
        dtype = "int32" if self.target == "integers" else "float32"
        return y_true.astype(dtype), y_pred.astype("float32"), self._weight(rng)

    def _target(self, labels, classes, rng):
        if self.target in ("labels", "integers"):
            return labels
        if self.target == "labels1":
            return labels[..., None]
        one_hot = np.eye(classes)[labels]
        if self.target == "soft":  # one class keeps at least .7, so that it is clear which leads
            one_hot = 0.7 * one_hot + 0.3 * rng.dirichlet(np.ones(classes), size=labels.shape)
        return one_hot[..., 1:] if self.channels == 1 else one_hot

    def _weight(self, rng):
        if self.weight is None:
            return None
        if self.weight == "image":
            return np.array([0.5, 3.0], "float32")
        weight = rng.choice([0.0, 0.5, 1.0, 2.5], size=(2, *self.space)).astype("float32")
        return weight[..., None] if self.weight == "pixel1" else weight


def probabilities(z):
    if z.shape[-1] == 1:
        return 1 / (1 + np.exp(-z))
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


LOGITS = {"from_logits": True}

CASES = {
    # forms of target and number of space axes
    "one-channel": Case(1),
    "one-channel-same-shape": Case(1, target="one_hot"),
    "one-channel-soft": Case(1, target="soft"),
    "one-channel-integers": Case(1, target="integers"),
    "one-channel-line": Case(1, space=(13,), target="labels1"),
    "one-channel-volume": Case(1, space=(5, 6, 4)),
    "two-classes": Case(2),
    "three-classes": Case(3),
    "three-classes-labels1": Case(3, target="labels1"),
    "three-classes-one-hot": Case(3, target="one_hot"),
    "three-classes-soft": Case(3, target="soft"),
    "four-classes-volume": Case(4, space=(5, 6, 4), target="one_hot"),
    # logits
    "one-channel-logits": Case(1, options=LOGITS),
    "one-channel-logits-integers": Case(1, target="integers", options=LOGITS),
    "three-classes-logits": Case(3, options=LOGITS),
    "three-classes-logits-soft": Case(3, target="soft", options=LOGITS),
    "ten-classes-logits-soft": Case(10, target="soft", weight="pixel", options=LOGITS),
    # weights
    "one-channel-image-weight": Case(1, weight="image"),
    "one-channel-pixel-weight": Case(1, weight="pixel"),
    "three-classes-image-weight": Case(3, weight="image"),
    "three-classes-pixel-weight": Case(3, weight="pixel"),
    "three-classes-pixel1-weight-line": Case(3, space=(13,), weight="pixel1"),
    "three-classes-pixel-weight-soft": Case(3, target="soft", weight="pixel"),
    "one-channel-class-weight": Case(1, options={"class_weight": (0.5, 4.0)}),
    "three-classes-class-weight": Case(3, options={"class_weight": (0.5, 1.0, 4.0)}),
    "ten-classes-class-weight": Case(10, options={"class_weight": tuple(range(1, 11))}),
    "three-classes-class-left-out": Case(3, options={"class_weight": (0.0, 1.0, 2.0)}),
    # ignored pixels
    "one-channel-ignore-255": Case(1, options={"ignore_class": 255}),
    "one-channel-ignore-0": Case(1, options={"ignore_class": 0}),
    "three-classes-ignore-255": Case(3, target="labels1", options={"ignore_class": 255}),
    "three-classes-ignore-1": Case(3, options={"ignore_class": 1}),
    "three-classes-ignore-2-one-hot": Case(3, target="one_hot", options={"ignore_class": 2}),
    # everything at once
    "one-channel-all-options": Case(
        1, weight="pixel", options=LOGITS | {"class_weight": (3.0, 1.0), "ignore_class": 255}
    ),
    "one-channel-integers-all-options": Case(
        1,
        target="integers",
        weight="pixel",
        options=LOGITS | {"class_weight": (3.0, 1.0), "ignore_class": 255},
    ),
    "three-classes-all-options": Case(
        3, weight="image", options=LOGITS | {"class_weight": (1.0, 3.0, 2.0), "ignore_class": 255}
    ),
}
