"""What driver and workers say to each other: plain data, free of Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kerasloss_search.space import Space

__all__ = ["Epoch", "Result", "Settings"]


@dataclass(frozen=True)
class Settings:
    """How every trial of a study is trained.

    Attributes:
        data: file of the data set, written by `Dataset.save`.
        space: the search space.
        epochs: epochs of a whole trial.
        batch_size: images a step.
        seed: of initial weights, order and augmentation: the same for all trials, so that they
            differ by their loss alone.
        model: `unet` or `package.module:function`.
        model_options: further arguments of that function.
        from_logits: whether the model returns logits.
        augment: whether training images are augmented.
        crop: side of the random training windows in px; None for whole images.
    """

    data: Path
    space: Space
    epochs: int = 20
    batch_size: int = 8
    seed: int = 0
    model: str = "unet"
    model_options: Mapping[str, int] = field(default_factory=dict)
    from_logits: bool = False
    augment: bool = True
    crop: int | None = None


@dataclass(frozen=True)
class Epoch:
    """What one epoch of a trial gave.

    Attributes:
        index: of the epoch, from 0.
        score: mean Dice on the validation images.
        foreground: share of their pixels that is predicted as foreground.
        logs: what Keras logged: the loss, its terms and their weights.
    """

    index: int
    score: float
    foreground: float
    logs: dict[str, float]


@dataclass(frozen=True)
class Result:
    """How a trial ended: `"complete"`, `"stopped"` by the driver, or `"diverged"` to NaN."""

    outcome: str
    score: float
    best_epoch: int
    seconds: float
