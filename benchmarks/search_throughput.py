"""Trials an hour of the search's worker, as a ratio to build, compile and fit in every trial.

    python benchmarks/search_throughput.py --backend jax

Both sides train the same recipes on the same images for the same number of epochs and score every
epoch. The plain side does what a script would: a new model, a loss with the terms in use alone,
`compile`, `fit`.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("jax", "tensorflow", "torch"), default="jax")
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--plain-trials", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    os.environ["KERAS_BACKEND"] = options.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    from kerasloss_search.data import DataOptions, load
    from kerasloss_search.jobs import Settings
    from kerasloss_search.space import Choice, Range, Space
    from kerasloss_search.synthetic import write_micrographs
    from kerasloss_search.trial import Bench

    def drawn(space: Space, rng: random.Random) -> dict[str, object]:
        params: dict[str, object] = {}
        for name, limits in space.dimensions.items():
            if isinstance(limits, Choice):
                params[name] = rng.choice(limits.options)
            elif isinstance(limits, Range):
                params[name] = rng.uniform(limits.low, limits.high)
        return params

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_micrographs(folder / "set", count=48, size=64, seed=0)
        dataset = load(DataOptions(folder / "set" / "images", folder / "set" / "masks", size=64))
        dataset.save(folder / "data.npz")
        space = Space(steps=options.epochs * 4)
        settings = Settings(
            folder / "data.npz", space, epochs=options.epochs, model_options={"width": 8}
        )
        rng = random.Random(0)
        recipes = [space.decode(drawn(space, rng)) for _ in range(options.trials)]

        started = time.perf_counter()
        bench = Bench(settings)
        ours = []
        for recipe in recipes:
            begun = time.perf_counter()
            bench.run(recipe, lambda epoch: True)
            ours.append(time.perf_counter() - begun)
        all_ours = (time.perf_counter() - started) / len(recipes)

        plain = []
        for recipe in recipes[: options.plain_trials]:
            begun = time.perf_counter()
            plain_trial(recipe, settings)
            plain.append(time.perf_counter() - begun)
        all_plain = sum(plain) / len(plain)
    steady = sorted(ours)[len(ours) // 2]
    print(f"{options.backend}: {options.epochs} epochs a trial, {len(recipes)} trials")
    print(f"  plain script      {all_plain:6.2f} s a trial  {3600 / all_plain:6.0f} trials an hour")
    print(
        f"  search, in all    {all_ours:6.2f} s a trial  {3600 / all_ours:6.0f} trials an hour  "
        f"{all_plain / all_ours:.1f} x"
    )
    print(
        f"  search, compiled  {steady:6.2f} s a trial  {3600 / steady:6.0f} trials an hour  "
        f"{all_plain / steady:.1f} x"
    )


def plain_trial(recipe: object, settings: object) -> None:
    """Build, compile and fit, as a script without the search would."""
    import keras
    from kerasloss_search import recipes, scores
    from kerasloss_search.augment import Batches
    from kerasloss_search.dataset import Dataset
    from kerasloss_search.models import unet

    import kerasloss

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    data = Dataset.load_npz(settings.data)
    batches = Batches(
        data.images[data.train], data.masks[data.train], batch_size=settings.batch_size, seed=0
    )
    model = unet(data.images.shape[1:], 1, **settings.model_options)
    loss = recipes.standalone(recipe, {})
    model.compile(keras.optimizers.Adam(recipe.learning_rate), loss=loss)

    class Score(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            predicted = scores.to_labels(
                self.model.predict(data.images[data.validation], batch_size=8, verbose=0)
            )
            scores.dice_per_image(data.masks[data.validation], predicted, 2).mean()

    callbacks: list[keras.callbacks.Callback] = [Score()]
    if isinstance(loss, kerasloss.Compound):
        callbacks.append(kerasloss.DynamicWeighting())
    model.fit(batches, epochs=settings.epochs, shuffle=False, verbose=0, callbacks=callbacks)


if __name__ == "__main__":
    main()
