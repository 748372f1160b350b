"""How fast a search is, as ratios to a baseline in the same run.

    python benchmarks/search.py throughput --backend jax   trials an hour against a plain script
    python benchmarks/search.py riding --backend jax       one step for all losses against one each
    python benchmarks/search.py overhead                   study and tracking, with 10,000 trials
    python benchmarks/search.py memory --backend jax       of worker and driver over 200 trials
    python benchmarks/search.py samplers NAME=FOLDER ...   against random search, equal wall time

The plain script is what one would write with Optuna and Keras alone: in every trial a new model, a
loss with the terms in use, `compile`, `fit`, and the score of every epoch.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(required=True, dest="part")
    for name, trials in (("throughput", 64), ("riding", 12), ("memory", 200)):
        part = parts.add_parser(name)
        part.add_argument("--backend", choices=("jax", "tensorflow", "torch"), default="jax")
        part.add_argument("--trials", type=int, default=trials)
        part.add_argument("--plain-trials", type=int, default=5)
        part.add_argument("--epochs", type=int, default=3)
    part = parts.add_parser("overhead")
    part.add_argument("--recorded", type=int, default=10_000)
    part.add_argument("--trial-s", type=float, default=30.0)
    part.add_argument("--epochs", type=int, default=20)
    part.add_argument("--repeats", type=int, default=5)
    part = parts.add_parser("samplers")
    part.add_argument("sets", nargs="+", metavar="NAME=FOLDER")
    part.add_argument("--backend", choices=("jax", "tensorflow", "torch"), default="jax")
    part.add_argument("--time-s", type=float, default=240.0)
    part.add_argument("--repeats", type=int, default=5)
    part.add_argument("--size", type=int, default=64)
    part.add_argument("--epochs", type=int, default=10)
    part.add_argument("--json", type=Path, help="keep the figures here, and go on from them")
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = getattr(options, "backend", "jax")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Only now: the backend is chosen at import.
    if options.part == "overhead":
        import search_overhead

        search_overhead.run(options)
    elif options.part == "memory":
        import search_memory

        search_memory.run(options)
    elif options.part == "samplers":
        import search_samplers

        search_samplers.run(options)
    else:
        import search_throughput

        getattr(search_throughput, options.part)(options)


if __name__ == "__main__":
    main()
