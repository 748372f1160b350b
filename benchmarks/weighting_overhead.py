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

SIDE, WIDTH, BATCH = 128, 16, 8


def compiled(weighting: kerasloss.weighting.Weighting | None) -> keras.Model:
    """A U-Net with a three-term compound, trained one epoch so that everything is compiled."""
    keras.utils.set_random_seed(0)
    model = unet((SIDE, SIDE, 1), 1, width=WIDTH)
    loss = kerasloss.Compound(
        {
            "ce": kerasloss.CrossEntropy(),
            "dice": kerasloss.Dice(),
            "focal": kerasloss.Focal(),
        },
        weighting=weighting,
    )
    model.compile("adam", loss=loss)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=6, help="training steps a round")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.random((BATCH * options.steps, SIDE, SIDE, 1), dtype="float32")
    y = (x > 0.9).astype("float32")
    candidates: dict[str, kerasloss.weighting.Weighting | None] = {"static": None}
    for method in ("var", "mad", "bayes"):
        candidates[method] = kerasloss.weighting.DynamicMemoryFusion(
            method=method, warmup=2, memory=150
        )
    models = {name: compiled(weighting) for name, weighting in candidates.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(options.rounds + 1):
        for name, model in models.items():
            started = time.perf_counter()
            model.fit(x, y, batch_size=BATCH, verbose=0, callbacks=[kerasloss.DynamicWeighting()])
            if turn:  # the first round compiles
                times[name].append((time.perf_counter() - started) / options.steps)
    static = times["static"]
    print(f"{keras.backend.backend()}: static {1e3 * statistics.median(static):.1f} ms a step")
    for name in ("var", "mad", "bayes"):
        ratios = [ours / base for ours, base in zip(times[name], static, strict=True)]
        print(f"  {name:<5} {statistics.median(ratios):.3f} x static")


if __name__ == "__main__":
    main()
