"""Do moving weights beat equal ones that stay? A small study with paired statistics.

    python benchmarks/weighting.py he_bubbles=FOLDER busi=FOLDER ... --group he_bubbles='(.+)_\\d'

Every FOLDER has `images/` and `masks/`. Each strategy trains the same small U-Net on the same
batches from the same starts, once a seed, and is judged by the Dice of every test image after the
last epoch. Writes docs/weighting_study.md and a picture; what `--json` has is not run again.
Without folders, synthetic micrographs give the curves of docs/weighting.md.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from kerasloss_search.augment import Batches
from kerasloss_search.data import DataOptions, load
from kerasloss_search.dataset import Dataset
from kerasloss_search.models import unet
from kerasloss_search.scores import dice_per_image, to_labels
from kerasloss_search.synthetic import write_micrographs
from kerasloss_search.trial import hasty_compilation
from weighting_report import report

import kerasloss
from kerasloss import weighting

TERMS = {"ce": kerasloss.CrossEntropy, "dice": kerasloss.Dice, "focal": kerasloss.Focal}


def strategies(steps: int) -> dict[str, weighting.Weighting]:
    """All of them with their usual options; the memory fits the length of the training."""
    fading = keras.optimizers.schedules.PolynomialDecay(0.8, steps, 0.1)
    growing = keras.optimizers.schedules.PolynomialDecay(0.1, steps, 0.8)
    fusion: dict[str, Any] = {"warmup": max(2, steps // 10), "memory": max(2, steps // 4)}
    return {
        "Static": weighting.Static(),
        "Schedule": weighting.Schedule({"ce": fading, "dice": growing, "focal": 0.1}),
        "DynamicMemoryFusion var": weighting.DynamicMemoryFusion(method="var", **fusion),
        "DynamicMemoryFusion mad": weighting.DynamicMemoryFusion(method="mad", **fusion),
        "DynamicMemoryFusion bayes": weighting.DynamicMemoryFusion(method="bayes", **fusion),
        "SoftAdapt": weighting.SoftAdapt(every="epoch"),
        "DynamicWeightAverage": weighting.DynamicWeightAverage(),
        "CoefficientOfVariation": weighting.CoefficientOfVariation(),
        "ReLoBRaLo": weighting.ReLoBRaLo(),
        "RandomWeighting": weighting.RandomWeighting(),
        "GradientBalance": weighting.GradientBalance(),
        "Uncertainty": weighting.Uncertainty(),
    }


class Trainer:
    """A network that is compiled once for a strategy and begins anew for every seed."""

    def __init__(self, data: Dataset, strategy: weighting.Weighting, options: Any) -> None:
        self.data, self.options = data, options
        self.loss = kerasloss.Compound(
            {name: make() for name, make in TERMS.items()}, weighting=strategy
        )
        self.model = self._network()
        self.model.compile(keras.optimizers.Adam(options.rate), loss=self.loss)
        self.model.optimizer.build(self.model.trainable_variables)

    def _network(self) -> keras.Model:
        with hasty_compilation():
            net = unet(self.data.images.shape[1:], 1, width=self.options.width)
        layer = kerasloss.LogVariances(list(TERMS))
        # In all of them, so that the same seed gives the same start.
        learns = self.loss.weighting is not None and self.loss.weighting.learns
        return keras.Model(net.inputs, layer(net.outputs[0])) if learns else net

    def run(self, seed: int) -> dict[str, Any]:
        """The Dice of every test image, and the weights at the end of every epoch."""
        keras.utils.set_random_seed(seed)
        start = [keras.ops.convert_to_numpy(v.value) for v in self._network().variables]
        for variable, value in zip(self.model.variables, start, strict=True):
            variable.assign(value)
        for variable in self.model.optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
        self.model.optimizer.learning_rate = self.options.rate
        self.loss.restart()
        train, test = self.data.train, self.data.test
        batches = Batches(
            self.data.images[train],
            self.data.masks[train],
            batch_size=self.options.batch,
            seed=seed,
        )
        epochs = max(1, round(self.options.steps / len(batches)))
        history = self.model.fit(
            batches,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[kerasloss.DynamicWeighting()],
        ).history
        predicted = to_labels(self.model.predict(self.data.pixels(test), verbose=0))
        scores = dice_per_image(self.data.masks[test], predicted, self.data.classes)
        weights = {name: [float(w) for w in history[f"weight/{name}"]] for name in TERMS}
        return {"scores": scores.tolist(), "weights": weights}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--group", nargs="*", default=[], metavar="NAME=REGEX")
    parser.add_argument("--only", nargs="*", help="names of strategies")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=240, help="training steps")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--json", type=Path, help="keep the figures here, and go on from them")
    options = parser.parse_args()
    groups = dict(pair.split("=", 1) for pair in options.group)
    folders = {name: Path(folder) for name, folder in (pair.split("=", 1) for pair in options.sets)}
    known = options.json is not None and options.json.exists()
    rows = json.loads(options.json.read_text()) if known else []
    done = {(row["set"], row["strategy"], row["seed"]) for row in rows}
    if not folders:
        scratch = tempfile.TemporaryDirectory()
        write_micrographs(Path(scratch.name))
        folders = {"synthetic": Path(scratch.name)}
    for name, folder in folders.items():
        data = load(
            DataOptions(
                folder / "images", folder / "masks", size=options.size, group=groups.get(name)
            )
        )
        for title, strategy in strategies(options.steps).items():
            wanted = [s for s in range(options.seeds) if (name, title, s) not in done]
            if not wanted or (options.only and title not in options.only):
                continue
            started, trainer = time.perf_counter(), Trainer(data, strategy, options)
            for seed in wanted:
                rows.append({"set": name, "strategy": title, "seed": seed, **trainer.run(seed)})
            if options.json is not None:
                options.json.write_text(json.dumps(rows))
            mean = np.mean([row["scores"] for row in rows[-len(wanted) :]])
            print(f"{name:12} {title:26} {mean:.4f} {time.perf_counter() - started:6.1f} s")
    settings = {key: getattr(options, key) for key in ("steps", "rate", "batch", "width", "size")}
    report(rows, settings, Path(__file__).parent.parent / "docs")


if __name__ == "__main__":
    main()
