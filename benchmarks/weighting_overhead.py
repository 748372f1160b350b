"""Time of a training step with moving weights, as a ratio to the same compound with fixed ones.

    KERAS_BACKEND=jax python benchmarks/weighting_overhead.py

All models are trained in turns, so that whatever else the machine does hits all alike; the figure
is the median over the rounds. With `--calls` it is not the steps that are timed but the calls of
the losses with their gradients, on the predictions of such a batch: what a strategy adds to a call,
as a share of a training step. That shows what the noise of whole steps hides.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from kerasloss_search.models import unet

import kerasloss
from kerasloss import weighting

SIDE, WIDTH, BATCH = 128, 16, 8
TERMS = {"ce": kerasloss.CrossEntropy(), "dice": kerasloss.Dice(), "focal": kerasloss.Focal()}
_ALIVE: list[keras.Model] = []  # a compound holds no model


def compiled(strategy: weighting.Weighting | None) -> keras.Model:
    """A U-Net with a three-term compound."""
    keras.utils.set_random_seed(0)
    model = unet((SIDE, SIDE, 1), 1, width=WIDTH)
    if strategy is not None and strategy.learns:
        layer = kerasloss.LogVariances(list(TERMS))
        model = keras.Model(model.inputs, layer(model.outputs[0]))
    loss = kerasloss.Compound(TERMS, weighting=strategy)
    model.compile("adam", loss=loss)
    return model


def candidates() -> dict[str, weighting.Weighting | None]:
    """Fixed weights, and every strategy."""
    up = keras.optimizers.schedules.PolynomialDecay(0.1, 1000, 0.8)
    return {
        "static": None,
        "Schedule": weighting.Schedule({"ce": 0.5, "dice": up, "focal": 0.1}),
        "DynamicMemoryFusion var": weighting.DynamicMemoryFusion(method="var", warmup=2),
        "DynamicMemoryFusion mad": weighting.DynamicMemoryFusion(method="mad", warmup=2),
        "DynamicMemoryFusion bayes": weighting.DynamicMemoryFusion(method="bayes", warmup=2),
        "SoftAdapt": weighting.SoftAdapt(),
        "DynamicWeightAverage": weighting.DynamicWeightAverage(),
        "CoefficientOfVariation": weighting.CoefficientOfVariation(),
        "ReLoBRaLo": weighting.ReLoBRaLo(),
        "RandomWeighting": weighting.RandomWeighting(),
        "GradientBalance": weighting.GradientBalance(),
        "Uncertainty": weighting.Uncertainty(),
    }


def caller(strategy: weighting.Weighting | None) -> Callable[[], Any]:
    """One call of the compound with its gradient, compiled as a training step is, waited for."""
    rng = np.random.default_rng(0)
    prediction = rng.random((BATCH, SIDE, SIDE, 1), dtype="float32")
    target = (prediction > 0.9).astype("float32")
    loss = kerasloss.Compound(TERMS, weighting=strategy)
    state = loss.state
    if strategy is not None and strategy.learns:
        _ALIVE.append(keras.Sequential([keras.Input((1,)), kerasloss.LogVariances(list(TERMS))]))
        loss.learn_with(_ALIVE[-1])
    y, p = keras.ops.convert_to_tensor(target), keras.ops.convert_to_tensor(prediction)
    if keras.backend.backend() == "jax":
        import jax

        @jax.jit
        def step(values: Any, p: Any) -> Any:
            def compute(p: Any) -> Any:
                mapping = zip(state.variables, values, strict=True)
                with keras.StatelessScope(state_mapping=list(mapping)) as scope:
                    value = loss(y, p)
                return value, [scope.get_current_value(v) for v in state.variables]

            return jax.grad(compute, has_aux=True)(p)

        values = [variable.value for variable in state.variables]

        def run() -> None:
            nonlocal values
            gradient, values = step(values, p)
            gradient.block_until_ready()

        return run
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=True)
        def graph(p: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(p)
                value = loss(y, p)
            return tape.gradient(value, p)

        return lambda: graph(p).numpy()

    def eager() -> None:
        x = p.detach().requires_grad_()
        loss(y, x).backward()

    return eager


def calls(chosen: dict[str, weighting.Weighting | None], step: float, rounds: int) -> None:
    """Prints what each strategy adds to a call, as a share of a step of so many milliseconds."""
    runs = {name: caller(strategy) for name, strategy in chosen.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 3):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn >= 3:
                times[name].append(1e3 * (time.perf_counter() - started))
    static = times.pop("static")
    print(f"{keras.backend.backend()}: static call {statistics.median(static):.2f} ms")
    for name, ours in times.items():
        more = statistics.median(a - b for a, b in zip(ours, static, strict=True))
        print(f"  {name:<26} {more:+.3f} ms a call, {100 * more / step:+.2f} % of a step")


def step_time(rounds: int) -> float:
    """Milliseconds of a training step with fixed weights, the median."""
    model = compiled(None)
    x = np.random.default_rng(0).random((BATCH, SIDE, SIDE, 1), dtype="float32")
    y = (x > 0.9).astype("float32")
    times = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        model.train_on_batch(x, y)
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=4, help="training steps a round")
    parser.add_argument("--only", nargs="*", help="names of strategies")
    parser.add_argument("--calls", action="store_true", help="time the losses alone")
    options = parser.parse_args()
    if options.calls:
        step = step_time(options.rounds)
        print(f"a step takes {step:.1f} ms")
        calls(candidates(), step, 20 * options.rounds)
        return
    rng = np.random.default_rng(0)
    x = rng.random((BATCH * options.steps, SIDE, SIDE, 1), dtype="float32")
    y = (x > 0.9).astype("float32")
    models = {
        name: compiled(strategy)
        for name, strategy in candidates().items()
        if not options.only or name in ("static", *options.only)
    }
    times: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(options.rounds + 1):
        for name, model in models.items():
            started = time.perf_counter()
            model.fit(x, y, batch_size=BATCH, verbose=0, callbacks=[kerasloss.DynamicWeighting()])
            if turn:  # the first round compiles
                times[name].append((time.perf_counter() - started) / options.steps)
    static = times.pop("static")
    print(f"{keras.backend.backend()}: static {1e3 * statistics.median(static):.1f} ms a step")
    for name, ours in times.items():
        ratios = sorted(mine / base for mine, base in zip(ours, static, strict=True))
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        middle = statistics.median(ratios)
        print(f"  {name:<26} {middle:.3f} x static, quartiles {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()
