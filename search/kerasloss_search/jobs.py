"""What driver and workers say to each other: plain data, free of Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kerasloss_search.space import Space

__all__ = ["KEPT_STEPS", "Epoch", "Final", "Result", "Settings"]

# Compiled steps that a worker keeps: each holds the optimiser's variables, too.
KEPT_STEPS = 8


@dataclass(frozen=True)
class Settings:
    """How every trial of a study is trained.

    Attributes:
        data: file of the data set, written by `Dataset.save`.
        space: the search space.
        scores: what a trial is judged by; the first one chooses the best epoch.
        epochs: epochs of a whole trial.
        batch_size: images a step.
        seed: of initial weights, order and augmentation: the same for all trials, so that they
            differ only in what is searched.
        folds: number of parts that take turns as validation images; 1 for those of the split.
        model: `unet` or `package.module:function`.
        model_options: further arguments of that function.
        from_logits: whether the model returns logits.
        augment: whether training images are augmented.
        crop: side of the random training windows in px; None for whole images.
    """

    data: Path
    space: Space
    scores: tuple[str, ...] = ("dice",)
    epochs: int = 20
    batch_size: int = 8
    seed: int = 0
    folds: int = 1
    model: str = "unet"
    model_options: Mapping[str, int | float | str | bool] = field(default_factory=dict)
    from_logits: bool = False
    augment: bool = True
    crop: int | None = None


@dataclass(frozen=True)
class Epoch:
    """What one epoch of a trial gave.

    Attributes:
        index: of the epoch, from 0.
        score: first score, mean over the validation images.
        foreground: share of their pixels that is predicted as foreground.
        logs: what Keras logged: the loss, its terms and their weights.
    """

    index: int
    score: float
    foreground: float
    logs: dict[str, float]


@dataclass(frozen=True)
class Result:
    """How a trial ended.

    Attributes:
        outcome: `"complete"`, `"stopped"` by the driver, or `"diverged"` to NaN.
        values: every score at the best epoch, mean over the validation images (and folds); empty
            where there is none.
        best_epoch: index of that epoch; -1 where there is none.
        seconds: how long the trial took.
    """

    outcome: str
    values: dict[str, float]
    best_epoch: int
    seconds: float


@dataclass(frozen=True)
class Final:
    """A loss trained anew from other initial weights, and judged on the test images.

    Attributes:
        trial: number of the trial that the loss is from.
        seed: of initial weights, order and augmentation.
        validation: first score at the best epoch, mean over the validation images.
        test: score -> its value on every test image.
        curve: first score of every epoch on the validation images.
        seconds: how long it took.
        diverged: whether the loss became NaN or infinite; there are no test scores then.
        recipe: fingerprint of the loss; the driver adds it, since numbers may be given anew.
    """

    trial: int
    seed: int
    validation: float
    test: dict[str, list[float]]
    curve: list[float]
    seconds: float
    diverged: bool = False
    recipe: str = ""
