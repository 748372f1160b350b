"""A training of a finished search, read back from its folder, which may come from anywhere."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kerasloss_search import files
from kerasloss_search.backend import BACKENDS
from kerasloss_search.catalogue import TERMS
from kerasloss_search.dataset import Dataset
from kerasloss_search.driver import SearchError
from kerasloss_search.jobs import Final, Settings
from kerasloss_search.provenance import settings_from_json
from kerasloss_search.report.finished import read_finished
from kerasloss_search.space import OPTIMIZERS, STRATEGIES, Recipe, is_dotted

__all__ = ["Training", "own_names", "read_training"]


@dataclass(frozen=True)
class Training:
    """One training of the final stage.

    Attributes:
        trial: number of the trial that the loss is from.
        seed: of the training.
        settings: of the search; the data are those in its folder.
        recipe: the loss.
        label: what it is called.
        backend: that it was trained on.
        before: what came of it.
    """

    trial: int
    seed: int
    settings: Settings
    recipe: Recipe
    label: str
    backend: str
    before: Final


def read_training(folder: Path, trial: int | None, seed: int | None) -> Training:
    """Reads a training of the final stage; nothing is imported or executed.

    Args:
        folder: of the search.
        trial: number of a trial of the final stage; None for the best loss.
        seed: one of the fresh seeds; None for the first one.

    Raises:
        SearchError: if the folder holds no finished search, or not this training.
        ValueError: if `results.json` is damaged.
    """
    path = folder / "results.json"
    finished = read_finished(folder) if path.is_file() else None
    if finished is None or finished.winner is None:
        raise SearchError(
            f"FOLDER: expected the folder of a finished search, received {folder}, where there "
            f"{'is no results.json' if finished is None else 'are no final trainings'}; run a "
            "search to its end there, or name another folder"
        )
    finals = {final.trial: final for final in finished.finals}
    trial = finished.winner.trial if trial is None else trial
    if trial not in finals:
        raise SearchError(
            f"--trial: expected one of {', '.join(map(str, sorted(finals)))}, which were trained "
            f"anew. Received: {trial}."
        )
    seeds = finals[trial].seeds
    if seed is None and seeds:
        seed = seeds[0]
    if seed is None or seed not in seeds:
        known = ", ".join(map(str, seeds)) or "none"
        raise SearchError(f"--seed: expected one of {known}. Received: {seed}.")
    data = folder / "data.npz"
    file = files.final_file(folder, trial, seed)
    for needed in (data, file):
        if not needed.is_file():
            raise SearchError(
                f"FOLDER: {needed} is missing, which trial {trial} with seed {seed} needs; restore "
                "a copy of it"
            )
    with _sound(path):
        content = files.read_json(path)
        recipe = next(one["recipe"] for one in content["trials"] if one["trial"] == trial)
        training = Training(
            trial,
            seed,
            settings_from_json(content["settings"], data),
            Recipe(**recipe),
            finals[trial].label,
            content["provenance"]["backend"],
            _final(file),
        )
        _check(training)
        fingerprint = content["provenance"]["data_fingerprint"]
    with _sound(data):
        found = Dataset.load_npz(data).fingerprint
    if found != fingerprint:
        raise SearchError(f"{data} is not the data of this search any more.")
    return training


def own_names(settings: Settings) -> list[str]:
    """The names of the user's own model, losses and strategies, whose modules are executed."""
    space = settings.space
    names = [] if settings.model == "unet" else [settings.model]
    names += [name for name in space.terms if name not in TERMS]
    names += [name for name in space.strategies if name not in STRATEGIES]
    return sorted(set(names))


def _check(training: Training) -> None:
    """Whether everything that would be looked up by its name is what it should be.

    Raises:
        ValueError: if not.
    """
    recipe, space = training.recipe, training.settings.space
    unknown = [name for name in own_names(training.settings) if not is_dotted(name)]
    allowed: Sequence[tuple[object, Sequence[str]]] = (
        (recipe.strategy, space.strategies),
        (recipe.optimizer, OPTIMIZERS),
        (training.backend, BACKENDS),
        *((name, tuple(space.terms)) for name in recipe.weights),
        *((name, ()) for name in unknown),
    )
    for name, names in allowed:
        if name not in names:
            raise ValueError(f"it names {name!r}, which there is not")
    # Keras makes objects, by their modules' names, of arguments that are dictionaries.
    given = [training.settings.model_options, *recipe.options.values()]
    for term in space.terms.values():
        given += [term.fixed, term.usual]
    for options in given:
        for name, value in options.items():
            if not isinstance(value, (bool, int, float, str)):
                raise ValueError(f"{name} is {value!r}, neither a number nor a text")


def _final(file: Path) -> Final:
    with _sound(file):
        final = files.read_final(file)
        if final is None:
            raise ValueError("it is gone")
        # These are printed as numbers.
        sum((sum(values) for values in final.test.values()), start=float(final.validation))
        return final


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Names the file whose content is not what it should be."""
    try:
        yield
    # The reasons for which JSON, NumPy's archives and what is made of them may fail.
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        StopIteration,
        EOFError,
        zipfile.BadZipFile,
    ) as problem:
        reason = " ".join(f"{type(problem).__name__} {problem}".split())
        raise SearchError(f"`{path}` is damaged: {reason[:200]}; restore a copy of it") from problem
