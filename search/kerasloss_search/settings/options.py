"""What a search is asked to do, as plain data: the meaning of a study file and of all options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kerasloss_search.data import DataOptions
from kerasloss_search.space import Space

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """What the user asked for.

    Attributes:
        data: where the images are and how they are read.
        output: folder for everything that the search writes.
        space: what may vary; its `steps` are set when the data are known.
        trials: trainings in all, plain losses and earlier sessions included; None for as many as
            the time allows.
        time_s: no trial starts after the search has taken so long, sessions added up; None for no
            limit.
        scores: what trials are judged by, names in `kerasloss_search.scores.SCORES`; several make
            a search for the best compromises.
        pruning: whether trials that fall behind their loss family are stopped.
        epochs: epochs a trial.
        batch_size: images a step.
        crop: side of the random training windows in px; None for whole images.
        augment: whether training images are augmented.
        folds: number of cross-validation folds that every trial is trained on; 1 for the split.
        seed: of everything random.
        model: `unet` or `package.module:function`.
        model_options: further arguments of that function.
        from_logits: whether the model returns logits.
        final_top: how many of the best searched losses are trained anew in the end, with all plain
            ones.
        final_seeds: how often, each time from other initial weights.
        workers: processes that train at the same time; None for one a GPU times `trials_per_gpu`.
        trials_per_gpu: trials that share a GPU.
        backend: of Keras; None for what Keras is set to.
        tracking_uri: MLflow store or server; None for a database in the output folder.
        command: what the user typed, to be repeated.
        origins: path of a setting -> where it was said, for messages; of a term, `terms.NAME`.
    """

    data: DataOptions
    output: Path
    space: Space = field(default_factory=Space)
    trials: int | None = 30
    time_s: float | None = None
    scores: tuple[str, ...] = ("dice",)
    pruning: bool = True
    epochs: int = 20
    batch_size: int = 8
    crop: int | None = None
    augment: bool = True
    folds: int = 1
    seed: int = 0
    model: str = "unet"
    model_options: Mapping[str, int | float | str | bool] = field(
        default_factory=lambda: {"width": 16, "depth": 3}
    )
    from_logits: bool = False
    final_top: int = 3
    final_seeds: int = 5
    workers: int | None = None
    trials_per_gpu: int = 1
    backend: str | None = None
    tracking_uri: str | None = None
    command: str = "kerasloss-search run"
    # Two searches are the same wherever that was said.
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
