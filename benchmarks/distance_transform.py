"""Time of the exact distance transform of a batch of masks, as a ratio to SciPy image by image.

    python benchmarks/distance_transform.py [--images FOLDER_OF_MASKS]

Every backend runs in a process of its own: compiled with XLA on JAX and TensorFlow, eagerly on
PyTorch. Both sides run in turns, so that whatever else the machine does hits both alike; the
figures are medians over the rounds. Needs scipy, and pillow for `--images`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

BACKENDS = ("jax", "tensorflow", "torch")


def bubbles(count: int, side: int, share: float = 0.15) -> np.ndarray:
    """Discs of random size at random places until they cover a share of each image."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    masks = np.zeros((count, side, side), bool)
    for mask in masks:
        while mask.mean() < share:
            (row, column), radius = rng.uniform(0, side, 2), rng.uniform(4, 18) * side / 256
            mask |= (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    return masks


def read(folder: Path, count: int, side: int, *, shrink: bool) -> np.ndarray:
    """Masks spread over the folder: shrunk to the side, or their middle cut out."""
    from PIL import Image

    files = sorted(path for path in folder.iterdir() if path.is_file())
    masks = []
    for path in files[:: max(1, len(files) // count)][:count]:
        image = Image.open(path).convert("L")
        if shrink:
            image = image.resize((side, side), Image.Resampling.NEAREST)
        pixels = np.asarray(image)
        top, left = ((size - side) // 2 for size in pixels.shape)
        masks.append(pixels[top : top + side, left : left + side] > 127)
    return np.stack(masks)


def compiled(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function with XLA where the backend has it; it returns when the result is there."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        fast = jax.jit(function)
        return lambda x: jax.block_until_ready(fast(x))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        fast = tf.function(function, jit_compile=True)
        return lambda x: fast(x).numpy()
    return function


def measure(options: argparse.Namespace) -> None:
    """Prints the rows of the table for the backend of this process."""
    import keras

    from kerasloss.ops import distance_transform

    sets = {"synthetic": bubbles(options.batch, options.side)}
    if options.images:
        for shrink, name in ((True, "shrunk"), (False, "cut out")):
            sets[name] = read(options.images, options.batch, options.side, shrink=shrink)
    ours = compiled(distance_transform)
    for name, objects in sets.items():
        for side, masks in (("inside", objects), ("outside", ~objects)):
            tensor = keras.ops.convert_to_tensor(masks)
            times: dict[str, list[float]] = {"ours": [], "scipy": []}
            for turn in range(options.rounds + 1):
                started = time.perf_counter()
                actual = ours(tensor)
                between = time.perf_counter()
                expected = [ndimage.distance_transform_edt(mask) for mask in masks]
                if turn:  # the first round compiles
                    times["ours"].append(1e3 * (between - started))
                    times["scipy"].append(1e3 * (time.perf_counter() - between))
            error = np.abs(keras.ops.convert_to_numpy(actual) - np.stack(expected)).max()
            medians = {key: statistics.median(values) for key, values in times.items()}
            print(
                f"{keras.backend.backend():<11}{name:<10}{side:<8}{np.max(expected):>7.0f}"
                f"{medians['ours']:>9.1f}{medians['scipy']:>9.1f}"
                f"{medians['ours'] / medians['scipy']:>7.2f}{error:>9.0e}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS, help="one backend; by default all")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=256, help="rows and columns of an image")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=Path, help="folder of mask images, cut at half range")
    parser.add_argument("--rows-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rows_only:
        measure(options)
        return
    print("backend    masks     side    farthest  ours ms scipy ms  ratio  error")
    for backend in [options.backend] if options.backend else BACKENDS:
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, *sys.argv, "--rows-only"], env=environment, check=True)


if __name__ == "__main__":
    main()
