"""What the tests of training share: a tiny model, its data, and a look at the state of a loss."""

import keras
import numpy as np
import oracle
from backend_tools import array

import kerasloss
from kerasloss.weighting import DynamicMemoryFusion

RNG = np.random.default_rng(70)
X = RNG.random((8, 8, 8, 1)).astype("float32")
Y = (X > 0.6).astype("float32")
XV, YV = X[:4, ::-1], 1 - Y[:4]  # to validate on


class Record(keras.callbacks.Callback):
    """What the state of a compound holds at the end of every epoch."""

    def __init__(self, loss):
        super().__init__()
        self.loss, self.values, self.weights = loss, [], []

    def on_epoch_end(self, epoch, logs=None):
        self.values.append(read(self.loss, "memory")[-1].tolist())
        self.weights.append(read(self.loss, "weights_now"))


def read(loss, name):
    """A copy. By way of `_state`, since a loss takes note of who asks for `state`."""
    state = loss._state
    if name == "memory":
        return np.array([array(variable.value) for variable in state.memory.values()]).squeeze(0)
    return np.array(array(getattr(state, name).value))


def held(loss):
    """What nothing but training may change."""
    names = ("memory", "step", "weights_now") if loss._state.memory else ("step", "weights_now")
    return {name: read(loss, name).tolist() for name in names}


def convolution(channels, activation, **options):
    start = keras.initializers.GlorotUniform(channels)
    return keras.layers.Conv2D(
        channels, 3, padding="same", activation=activation, kernel_initializer=start, **options
    )


def layers():
    return [convolution(3, "relu"), convolution(1, "sigmoid")]


def pixelwise():
    """Without convolutions, whose gradient PyTorch lacks in half precision on some processors."""
    start = keras.initializers.GlorotUniform
    return [
        keras.layers.Dense(3, "relu", kernel_initializer=start(3)),
        keras.layers.Dense(1, "sigmoid", kernel_initializer=start(1)),
    ]


def compiled(model, loss, rate=1.0, **options):
    model.compile(keras.optimizers.SGD(rate), loss=loss, **options)
    return model


def network(loss, rate=1.0, stack=layers, **options):
    return compiled(keras.Sequential([keras.Input((8, 8, 1)), *stack()]), loss, rate, **options)


def terms():
    return {"ce": kerasloss.CrossEntropy(), "dice": kerasloss.Dice()}


def dynamic(method="mad", warmup=3, memory=5, **options):
    weighting = DynamicMemoryFusion(method=method, warmup=warmup, memory=memory)
    return kerasloss.Compound(terms(), weighting=weighting, **options)


def fit(model, *callbacks, y=Y, **options):
    """`History` as plain numbers, of one epoch of two batches unless told otherwise."""
    options = {"epochs": 1, "batch_size": 4, "shuffle": False, "verbose": 0} | options
    history = model.fit(X, y, callbacks=list(callbacks), **options).history
    return {name: [float(value) for value in values] for name, values in history.items()}


def evaluate(model):
    logs = model.evaluate(XV, YV, batch_size=4, verbose=0, return_dict=True)
    return {name: float(value) for name, value in logs.items()}


def by_hand(model, x=X, y=Y, **options):
    """Mean loss of each kind for what the model predicts now, in float64 NumPy."""
    prediction = model.predict(x, batch_size=4, verbose=0)
    return {
        "ce": np.mean(oracle.cross_entropy(y, prediction)),
        "dice": np.mean(oracle.dice(y, prediction, **options)),
        "iou": np.mean(oracle.iou(y, prediction)),
    }
