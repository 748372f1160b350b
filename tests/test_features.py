"""Every strategy in every way of training: the table of docs/weighting_features.md, cell by cell.

Most ways must give what a plain `fit` gives, number by number; where they cannot (an optimizer that
collects gradients, half precision), the weights must follow from the values that `History` shows.
`make features` runs all pairs; otherwise each strategy and each way is there at least once.
"""

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from backend_tools import BACKEND
from training import X, Y, compiled, convolution, fit, layers, pixelwise, terms

import kerasloss
from kerasloss import DynamicWeighting, weighting

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STRATEGIES = {
    "Static": lambda names: weighting.Static(),
    "Schedule": lambda names: weighting.Schedule(
        {names[0]: 0.5, names[1]: keras.optimizers.schedules.PolynomialDecay(0.2, 5, 0.8)}
    ),
    "DynamicMemoryFusion": lambda names: weighting.DynamicMemoryFusion(method="mad", warmup=2),
    "SoftAdapt": lambda names: weighting.SoftAdapt(beta=20.0),
    "DynamicWeightAverage": lambda names: weighting.DynamicWeightAverage(),
    "CoefficientOfVariation": lambda names: weighting.CoefficientOfVariation(every="epoch"),
    "ReLoBRaLo": lambda names: weighting.ReLoBRaLo(alpha=0.5, rho=0.5),
    "RandomWeighting": lambda names: weighting.RandomWeighting(seed=1),
    "GradientBalance": lambda names: weighting.GradientBalance(alpha=0.5),
    "Uncertainty": lambda names: weighting.Uncertainty(),
}
NAMES = ("ce", "dice")
PLAIN = {"epochs": 4, "batch_size": 4}


def compound(strategy, prefix=""):
    names = tuple(prefix + name for name in NAMES)
    named = dict(zip(names, terms().values(), strict=True))
    return kerasloss.Compound(named, weighting=STRATEGIES[strategy](names))


def learned(strategy, prefix=""):
    """What the model needs besides, for its output."""
    if strategy != "Uncertainty":
        return []
    return [kerasloss.LogVariances([prefix + name for name in NAMES])]


def model_of(strategy, loss=None, stack=layers, **options):
    loss = loss or compound(strategy)
    parts = [keras.Input((8, 8, 1)), *stack(), *learned(strategy)]
    return compiled(keras.Sequential(parts), loss, **options)


_references = {}


def reference(strategy):
    """`History` of a plain `fit`."""
    if strategy not in _references:
        _references[strategy] = fit(model_of(strategy), DynamicWeighting(), **PLAIN)
    return _references[strategy]


def agree(logs, expected, rtol=1e-4):
    assert set(logs) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(logs[name], values, rtol, 1e-6, err_msg=name)


def explained(strategy, logs, prefix="", rtol=1e-3):
    """The weights of one step an epoch follow from the values of the terms."""
    names = tuple(prefix + name for name in NAMES)
    actual = np.transpose([logs[f"weight/{name}"] for name in names])
    assert np.isfinite(actual).all()
    if strategy in ("GradientBalance", "Uncertainty"):  # not from the values alone
        assert (actual > 0).all() and np.ptp(actual, axis=0).min() > 1e-4
        return
    rows = np.transpose([logs[name] for name in names])
    made = STRATEGIES[strategy](names)
    expected = kerasloss.testing.feed(made, rows, [0.5, 0.5], names)
    if made.every == "epoch" and made.looks_back:
        expected = np.concatenate([[[0.5, 0.5]], expected[:-1]])
    np.testing.assert_allclose(actual, expected, rtol)


# ---- the ways -----------------------------------------------------------------------------------


def not_compiled(strategy, folder):
    model = model_of(strategy, jit_compile=False)
    agree(fit(model, DynamicWeighting(), **PLAIN), reference(strategy))


def compiled_too(strategy, folder):
    model = model_of(strategy, jit_compile=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own
        logs = fit(model, DynamicWeighting(), **PLAIN)
    agree(logs, reference(strategy), rtol=1e-3)


def eagerly(strategy, folder):
    model = model_of(strategy, run_eagerly=True)
    agree(fit(model, DynamicWeighting(), **PLAIN), reference(strategy))


def several_steps_at_once(strategy, folder):
    model = model_of(strategy, steps_per_execution=2)
    agree(fit(model, DynamicWeighting(), **PLAIN), reference(strategy))


def gradient_accumulation(strategy, folder):
    model = model_of(strategy)
    model.compile(keras.optimizers.SGD(1.0, gradient_accumulation_steps=2), loss=model.loss)
    logs = fit(model, DynamicWeighting(), epochs=6, batch_size=8)
    explained(strategy, logs)
    assert logs["ce"][0] == pytest.approx(logs["ce"][1])  # nothing was applied yet
    assert logs["ce"][2] != pytest.approx(logs["ce"][1])


def mixed_float16(strategy, folder):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = model_of(strategy, stack=pixelwise)
        model.compile(
            keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=256.0),
            loss=model.loss,
        )
        logs = fit(model, DynamicWeighting(), epochs=6, batch_size=8)
    finally:
        keras.config.set_dtype_policy("float32")
    explained(strategy, logs)
    np.testing.assert_allclose(logs["ce"], reference_by_step(strategy, pixelwise)["ce"], rtol=0.05)


def reference_by_step(strategy, stack=layers):
    key = f"{strategy} by step, {stack.__name__}"
    if key not in _references:
        model = model_of(strategy, stack=stack)
        _references[key] = fit(model, DynamicWeighting(), epochs=6, batch_size=8)
    return _references[key]


def train_on_batch(strategy, folder):
    """Callbacks called by hand; `test_on_batch` after every epoch changes nothing."""
    loss = compound(strategy)
    model = model_of(strategy, loss)
    callbacks = keras.callbacks.CallbackList([DynamicWeighting()], model=model)
    for epoch in range(PLAIN["epochs"]):
        callbacks.on_epoch_begin(epoch)
        logs = [
            model.train_on_batch(X[batch], Y[batch], return_dict=True)
            for batch in (slice(0, 4), slice(4, 8))
        ]
        callbacks.on_epoch_end(epoch)
        model.test_on_batch(X, 1 - Y)
        for name, values in reference(strategy).items():
            if name.startswith("weight/"):
                np.testing.assert_allclose(logs[-1][name], values[epoch], 1e-4, err_msg=name)
            elif name != "skipped_steps":  # Keras gives those of each batch by itself
                mean = np.mean([float(entry[name]) for entry in logs])
                np.testing.assert_allclose(mean, values[epoch], 1e-4, err_msg=name)


def custom_loop(strategy, folder):
    """The loop of docs/training_loops.md."""
    path = Path(__file__).parent.parent / "docs" / "loops" / f"loop_{BACKEND}.py"
    spec = importlib.util.spec_from_file_location("loop", path)
    loop = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loop)
    loss = compound(strategy)
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers(), *learned(strategy)])
    logs = []
    batches = [(X[start : start + 4], Y[start : start + 4]) for start in (0, 4)]
    for state in loop.train(model, loss, keras.optimizers.SGD(1.0), batches, PLAIN["epochs"]):
        logs.append({name: float(value) for name, value in state.items()})
    expected = reference(strategy)
    agree(
        {name: [entry[name] for entry in logs] for name in logs[0]},
        {name: expected[name] for name in logs[0]},
    )


def several_outputs(strategy, folder):
    image = keras.Input((8, 8, 1))
    hidden = convolution(3, "relu")(image)
    outputs, losses = {}, {}
    for name in ("a", "b"):
        outputs[name] = convolution(1, "sigmoid", name=name)(hidden)
        losses[name] = compound(strategy, f"{name}_")
        for layer in learned(strategy, f"{name}_"):
            hidden = layer(hidden)
    if strategy == "Uncertainty":
        outputs = {name: convolution(1, "sigmoid", name=name)(hidden) for name in outputs}
    model = compiled(keras.Model(image, outputs), losses)
    logs = fit(model, DynamicWeighting(), y={"a": Y, "b": 1 - Y}, epochs=6, batch_size=8)
    for name in ("a", "b"):
        explained(strategy, logs, f"{name}_")


def deep_supervision(strategy, folder):
    image = keras.Input((8, 8, 1))
    hidden = convolution(3, "relu")(image)
    if strategy == "Uncertainty":
        hidden = learned(strategy, "full_")[0](learned(strategy, "half_")[0](hidden))
    half = convolution(1, "sigmoid", strides=2, name="half")(hidden)
    full = convolution(1, "sigmoid", name="full")(hidden)
    model = keras.Model(image, [full, half])
    if strategy == "Schedule":
        # Its plan names the terms, which get the names of their outputs.
        losses = [
            kerasloss.AtResolution(compound(strategy, f"{name}_"), weight=share, name=name)
            for name, share in (("full", 2 / 3), ("half", 1 / 3))
        ]
    else:
        losses = kerasloss.DeepSupervision(compound(strategy)).for_outputs(model)
    logs = fit(compiled(model, losses), DynamicWeighting(), y=[Y, Y], epochs=6, batch_size=8)
    for name in ("full", "half"):
        explained(strategy, logs, f"{name}_")


def saved_and_loaded(strategy, folder):
    model = model_of(strategy)
    first = fit(model, DynamicWeighting(), **PLAIN | {"epochs": 2})
    model.save(folder / "model.keras")
    model = keras.saving.load_model(folder / "model.keras")
    second = fit(model, DynamicWeighting(), **PLAIN | {"epochs": 2})
    agree({name: first[name] + second[name] for name in first}, reference(strategy))


def backup_and_restore(strategy, folder):
    """Interrupted after two epochs, by an error in the third; begun again with the same command."""

    class Breaks(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if seen == 2:
                raise InterruptedError

        def on_epoch_end(self, epoch, logs=None):
            nonlocal seen
            seen += 1

    seen = 0

    def callbacks():
        return DynamicWeighting(), keras.callbacks.BackupAndRestore(folder / "backup")

    with pytest.raises(InterruptedError):
        fit(model_of(strategy), *callbacks(), Breaks(), **PLAIN)
    logs = fit(model_of(strategy), *callbacks(), **PLAIN)
    agree(logs, {name: values[2:] for name, values in reference(strategy).items()})


def model_checkpoint(strategy, folder):
    checkpoint = keras.callbacks.ModelCheckpoint(str(folder / "{epoch}.keras"))
    fit(model_of(strategy), DynamicWeighting(), checkpoint, **PLAIN)
    model = keras.saving.load_model(folder / "2.keras")
    logs = fit(model, DynamicWeighting(), **PLAIN | {"epochs": 2})
    agree(logs, {name: values[2:] for name, values in reference(strategy).items()})


def no_retrace(strategy, folder):
    """Over weight changes, changes of options, and cycles of training and validation."""

    class Counted(kerasloss.Dice):
        runs = 0

        def values(self, *args, **kwargs):
            type(self).runs += 1
            return super().values(*args, **kwargs)

    names = ("ce", "dice")
    losses = {"ce": kerasloss.CrossEntropy(), "dice": Counted()}
    loss = kerasloss.Compound(losses, weighting=STRATEGIES[strategy](names))
    model = model_of(strategy, loss)
    options = {"validation_data": (X, 1 - Y), **PLAIN}
    fit(model, DynamicWeighting(), **options)
    before = Counted.runs
    fit(model, DynamicWeighting(), **options)
    loss.assign(weights={"ce": 0.3}, dice={"smooth": 0.5})
    for option in loss.weighting.tunable:
        loss.assign(weighting={option: 3.0 if option in ("warmup", "temperature") else 0.5})
    logs = fit(model, DynamicWeighting(), **options)
    assert np.isfinite(logs["loss"]).all()
    assert Counted.runs == before


def data_parallel(strategy, folder):
    """Two devices, in a process of its own that serves all strategies."""
    if "parallel" not in _references:
        script = Path(__file__).with_name("parallel.py")
        answer = subprocess.run(
            [sys.executable, "-W", "ignore", script, *wanted_in_parallel()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr[-3000:]
        _references["parallel"] = json.loads(answer.stdout.splitlines()[-1])
    logs = _references["parallel"][strategy]
    assert logs.pop("devices") == 2
    agree(logs, reference(strategy), rtol=1e-3)


WAYS = {
    "jit_compile=False": not_compiled,
    "torch.compile": compiled_too,
    "run_eagerly": eagerly,
    "steps_per_execution": several_steps_at_once,
    "gradient accumulation": gradient_accumulation,
    "mixed_float16": mixed_float16,
    "train_on_batch": train_on_batch,
    "own loop": custom_loop,
    "several outputs": several_outputs,
    "deep supervision": deep_supervision,
    ".keras": saved_and_loaded,
    "BackupAndRestore": backup_and_restore,
    "ModelCheckpoint": model_checkpoint,
    "no retrace": no_retrace,
    "data parallel": data_parallel,
}
# Keras runs PyTorch eagerly, unless told to compile; JAX and TensorFlow compile as they are.
MISSING = {
    "jax": {"torch.compile"},
    "tensorflow": {"torch.compile"},
    "torch": {
        *("jit_compile=False", "run_eagerly", "no retrace", "data parallel"),
        "steps_per_execution",  # refused by Keras
    },
}
# One of each in every run of the tests: the strategy that asks most of the way.
USUAL = {
    "jit_compile=False": "DynamicMemoryFusion",
    "torch.compile": "SoftAdapt",
    "run_eagerly": "GradientBalance",
    "steps_per_execution": "CoefficientOfVariation",
    "gradient accumulation": "Uncertainty",
    "mixed_float16": "GradientBalance",
    "train_on_batch": "Uncertainty",
    "own loop": "DynamicWeightAverage",
    "several outputs": "Uncertainty",
    "deep supervision": "Schedule",
    ".keras": "Static",
    "BackupAndRestore": "Uncertainty",
    "ModelCheckpoint": "ReLoBRaLo",
    "no retrace": "RandomWeighting",
    "data parallel": "GradientBalance",
}
CELLS = [
    pytest.param(
        way,
        strategy,
        id=f"{way}-{strategy}",
        marks=() if USUAL[way] == strategy else pytest.mark.matrix,
    )
    for way in WAYS
    if way not in MISSING[BACKEND]
    for strategy in STRATEGIES
]


def wanted_in_parallel():
    """All, if the whole table is asked for."""
    return list(STRATEGIES) if os.environ.get("KERASLOSS_MATRIX") else [USUAL["data parallel"]]


@pytest.mark.parametrize(("way", "strategy"), CELLS)
def test_way_of_training(way, strategy, tmp_path):
    WAYS[way](strategy, tmp_path)


@pytest.mark.matrix
@pytest.mark.skipif(BACKEND != "torch", reason="that is PyTorch's")
def test_distributed_data_parallel(tmp_path):
    """Each process moves weights of its own, until one decides for both."""
    script = Path(__file__).with_name("ddp.py")
    subprocess.run(
        [sys.executable, "-W", "ignore", script, tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=300,
        check=True,
    )
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    np.testing.assert_allclose(first["parameters"], second["parameters"])
    ours, theirs = np.array(first["weights"]), np.array(second["weights"])
    assert np.abs(ours[1:, 0] - theirs[1:, 0]).min() > 0.01
    np.testing.assert_array_equal(ours[:, 1], theirs[:, 1])
    np.testing.assert_array_equal(ours[:, 1], ours[:, 0])
