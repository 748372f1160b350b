"""Time of a training step with moving weights, as a ratio to the same compound with fixed ones.

    KERAS_BACKEND=jax python benchmarks/weighting_overhead.py

Both models are trained in turns, so that whatever else the machine does hits both alike; the figure
is the median over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time

import keras
import numpy as np
from kerasloss_search.models import unet

import kerasloss
from kerasloss import weighting

SIDE, WIDTH, BATCH = 128, 16, 8


def compiled(strategy: weighting.Weighting | None) -> keras.Model:
    """A U-Net with a three-term compound."""
    keras.utils.set_random_seed(0)
    model = unet((SIDE, SIDE, 1), 1, width=WIDTH)
    if strategy is not None and strategy.learns:
        layer = kerasloss.LogVariances(["ce", "dice", "focal"])
        model = keras.Model(model.inputs, layer(model.outputs[0]))
    loss = kerasloss.Compound(
        {
            "ce": kerasloss.CrossEntropy(),
            "dice": kerasloss.Dice(),
            "focal": kerasloss.Focal(),
        },
        weighting=strategy,
    )
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=4, help="training steps a round")
    parser.add_argument("--only", nargs="*", help="names of strategies")
    options = parser.parse_args()
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
