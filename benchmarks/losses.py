"""Time and memory of every loss, forward and backward, as ratios to the same loss elsewhere.

    python benchmarks/losses.py                 all backends; writes docs/benchmarks.md and a plot
    python benchmarks/losses.py --backend jax   that backend alone, on the terminal; `--losses`,
                                             `--shapes` and `--seconds` ask for less, and
                                             `--json` keeps the figures for loss_report.py

Compiled where the backend compiles (JAX; TensorFlow by XLA). Ours and every peer are called in
turns and the median over the rounds counts, so that whatever else the machine does hits all alike.
All get logits; a peer that wants probabilities gets them inside what is timed. Peers take part when
they are installed: `pip install --no-deps monai segmentation-models-pytorch medicai`.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHAPES = {
    "2D, 1 channel": (16, 256, 256, 1),
    "2D, 4 classes": (8, 256, 256, 4),
    "3D, 2 classes": (1, 96, 96, 96, 2),
}
Runs = dict[str, Callable[[], float]]

# Where a mask that is known to have one class a pixel saves work.
SHORTER_WITH_INTEGERS = (
    "CrossEntropy",
    "WeightedCrossEntropy",
    "Focal",
    "AdaptiveFocal",
    "Poly",
    "TopKCrossEntropy",
)
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h

BACKENDS = ("jax", "tensorflow", "torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS)
    parser.add_argument("--losses", nargs="*", help="names; all by default")
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--seconds", type=float, default=3.0, help="for one loss and its peers")
    parser.add_argument("--json", type=Path, help="write the figures of one backend here")
    options = parser.parse_args()
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        rows = measure(options.backend, options.losses, options.shapes, options.seconds)
        if options.json:
            options.json.write_text(json.dumps(rows))
        return
    import loss_report

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for backend in BACKENDS:
            path = Path(folder) / f"{backend}.json"
            command = [sys.executable, __file__, "--backend", backend, "--json", str(path)]
            command += ["--seconds", str(options.seconds), "--shapes", *options.shapes]
            command += ["--losses", *options.losses] if options.losses else []
            # Only the first arena of malloc gives back what is free, and can be seen to grow.
            subprocess.run(command, check=True, env=os.environ | {"MALLOC_ARENA_MAX": "1"})
            rows += json.loads(path.read_text())
    loss_report.write(rows, Path(__file__).parents[1] / "docs")


def measure(
    backend: str, names: list[str] | None, shapes: list[str], seconds: float
) -> list[dict[str, Any]]:
    """Time and memory of losses at some of the shapes."""
    import keras
    from loss_peers import peers

    import kerasloss

    classes = [
        getattr(kerasloss.losses, name)
        for name in kerasloss.losses.__all__
        if isinstance(getattr(kerasloss.losses, name), type)
    ]
    classes = [c for c in classes if c is not kerasloss.losses.SegmentationLoss and _alone(c)]
    rows: list[dict[str, Any]] = []
    for title in shapes:
        shape = SHAPES[title]
        arrays = _scene(shape)
        available = list(peers(shape[-1], backend))
        baseline = (
            keras.losses.BinaryCrossentropy(from_logits=True)
            if shape[-1] == 1
            else keras.losses.CategoricalCrossentropy(from_logits=True)
        )
        run_baseline = _runner(backend, baseline, *arrays["channels_last"])
        for loss in classes:
            if names and loss.__name__ not in names:
                continue
            ours = loss(from_logits=True)
            runs = {"kerasloss": _runner(backend, ours, *arrays["channels_last"])}
            if loss.__name__ in SHORTER_WITH_INTEGERS:
                runs["integers"] = _runner(backend, ours, *arrays["labels_last"])
            runs["baseline"] = run_baseline
            same = {}
            for peer in available:
                if peer.loss == loss.__name__:
                    runs[peer.library] = _runner(backend, peer.make(), *arrays[peer.layout])
                    same[peer.library] = peer.same
            row = {
                "backend": backend,
                "shape": title,
                "loss": loss.__name__,
                **_compare(runs, seconds),
            }
            for library, agrees in same.items():
                if library in row["value"] and agrees:
                    ours_value, theirs = row["value"]["kerasloss"], row["value"][library]
                    row.setdefault("off", {})[library] = abs(theirs / ours_value - 1.0)
            rows.append(row)
            print(_line(row), flush=True)
    return rows


def _alone(loss: type) -> bool:
    """Whether it can be made without another loss."""
    try:
        loss()
    except TypeError:
        return False
    return True


def _scene(shape: tuple[int, ...]) -> dict[str, tuple[Any, Any]]:
    """Target and logits of a scene with blobs, as each layout wants them."""
    import numpy as np
    from scipy import ndimage

    rng = np.random.default_rng(0)
    *space, channels = shape
    smooth = [0, *[6] * (len(space) - 1)]
    if channels == 1:
        field = ndimage.gaussian_filter(rng.normal(size=space), smooth)
        labels = (field > np.quantile(field, 0.9)).astype("int64")
    else:
        fields = [ndimage.gaussian_filter(rng.normal(size=space), smooth) for _ in range(channels)]
        fields[0] += 1.5 * np.std(fields[0])
        labels = np.argmax(fields, axis=0)
    one_hot = np.eye(max(2, channels), dtype="float32")[labels]
    target = one_hot[..., 1:] if channels == 1 else one_hot
    logits = (3.0 * target - 1.0 + rng.normal(scale=1.5, size=shape)).astype("float32")
    first = (np.moveaxis(target, -1, 1).copy(), np.moveaxis(logits, -1, 1).copy())
    return {
        "channels_last": (target, logits),
        "channels_first": first,
        "labels_first": (labels, first[1]),
        "labels_last": (labels.astype("uint8"), logits),
    }


def _runner(backend: str, loss: Any, target: Any, logits: Any) -> Callable[[], float]:
    """A call that computes value and gradient and returns the value when both are there."""
    if backend == "jax":
        import jax

        step = jax.jit(jax.value_and_grad(lambda z, y: loss(y, z)))
        z, y = jax.numpy.asarray(logits), jax.numpy.asarray(target)

        def run() -> float:
            return float(jax.block_until_ready(step(z, y))[0])

    elif backend == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=True)
        def graph(z: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(z)
                value = loss(y, z)
            return value, tape.gradient(value, z)

        z, y = tf.constant(logits), tf.constant(target)

        def run() -> float:
            value, gradient = graph(z, y)
            gradient.numpy()
            return float(value)

    else:
        import torch

        z, y = torch.from_numpy(logits).requires_grad_(True), torch.from_numpy(target)

        def run() -> float:
            value = loss(y, z)
            torch.autograd.grad(value, z)
            return float(value.detach())

    return run


def _compare(runs: Runs, seconds: float) -> dict[str, Any]:
    """Time, memory and value of each; what raises is left out."""
    values: dict[str, float] = {}
    failed: dict[str, str] = {}
    for name, run in list(runs.items()):
        try:
            values[name] = run()
            run()
        except Exception as problem:
            failed[name] = f"{type(problem).__name__}: {problem}".splitlines()[0][:120]
            del runs[name]
    if "kerasloss" in failed:
        raise RuntimeError(failed["kerasloss"])
    timed = _medians(runs, seconds)
    return {"seconds": timed, "memory": _peaks(runs), "value": values, "failed": failed}


def _medians(runs: Runs, limit: float) -> dict[str, float]:
    """Median of the seconds that each takes, called in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    began, turn, names = time.perf_counter(), 0, list(runs)
    while turn < 5 or (time.perf_counter() - began < limit and turn < 40):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            runs[name]()
            seconds[name].append(time.perf_counter() - start)
        turn += 1
    return {name: statistics.median(times) for name, times in seconds.items()}


def _peaks(runs: Runs) -> dict[str, float]:
    """By how many bytes a call lets the resident set grow at its largest (Linux, glibc)."""
    try:
        allocator = ctypes.CDLL("libc.so.6")
    except OSError:
        return dict.fromkeys(runs, 0.0)
    # Arrays by mmap: what was freed leaves the resident set, and the next peak can be told.
    allocator.mallopt(M_MMAP_THRESHOLD, 1 << 16)
    try:
        return {name: _peak(run, allocator) for name, run in runs.items()}
    finally:
        allocator.mallopt(M_MMAP_THRESHOLD, 1 << 25)  # where glibc arrives by itself


def _peak(run: Callable[[], float], allocator: ctypes.CDLL) -> float:
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not clear.exists():
        return 0.0

    def read(name: str) -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024

    run()
    growths = []
    for _ in range(3):
        gc.collect()
        allocator.malloc_trim(0)
        clear.write_text("5")
        before = read("VmRSS")
        run()
        growths.append(read("VmHWM") - before)
    return float(statistics.median(growths))


def _line(row: dict[str, Any]) -> str:
    figures = "  ".join(f"{name} {figure:.4g}" for name, figure in row["seconds"].items())
    return (
        f"{row['backend']:10s} {row['shape']:14s} {row['loss']:20s} {figures}  "
        f"{row.get('off', '')} {row['failed'] or ''}"
    )


if __name__ == "__main__":
    main()
