"""What can be found wrong with a search before anything is trained or written."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kerasloss_search.data import Dataset
from kerasloss_search.driver import SearchError
from kerasloss_search.scores import TIME
from kerasloss_search.settings.options import Options
from kerasloss_search.settings.table import label
from kerasloss_search.settings.wording import nearest
from kerasloss_search.space import is_dotted
from kerasloss_search.split import Indices, split_groups
from kerasloss_search.tracking import checked_uri

__all__ = ["check", "check_data", "check_demo"]

# Of one micrograph; images smaller than that hold no bubbles. `synthetic` makes them so.
_TILES = 4
_SMALLEST_MICROGRAPH = 16

# Imported when the first trial is recorded, and for the report, when hours may have gone by.
_NEEDED_LATER = ("mlflow", "matplotlib")


def check(options: Options, backend: str | None = None) -> None:
    """Finds what can be found before the data are read.

    Args:
        options: what the user asked for.
        backend: of Keras, which a user's own modules may import.

    Raises:
        SearchError: for anything that the user can mend.
        ModuleNotFoundError: if a package is missing that is needed only later.
    """
    for package in _NEEDED_LATER:
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(
                f'the search needs the package {package}: pip install "kerasloss[search]"',
                name=package,
            )
    plain = len(options.space.baselines())
    if options.trials is not None and options.trials <= plain:
        raise SearchError(
            f"{_place(options, 'search.trials')}: expected at least {plain + 1}, because the "
            f"first {plain} are the plain losses, received {options.trials}"
        )
    if options.data.validation + options.data.test >= 1:
        raise SearchError(
            f"{_place(options, 'data.validation', 'data.test')}: expected a sum with "
            f"{label('data.test')} below 1, received {options.data.validation:g} and "
            f"{options.data.test:g}, which leaves nothing to train on; lower them"
        )
    if options.scores[0] == TIME:
        raise SearchError(
            f"{_place(options, 'search.scores')}: expected a score of images first, such as "
            "dice,time, because it chooses the best epoch; received time"
        )
    _check_sides(options)
    _check_output(options)
    if options.tracking_uri is not None:
        try:
            checked_uri(options.tracking_uri)
        except ValueError as problem:
            raise SearchError(f"{_place(options, 'tracking.uri')}: {problem}") from problem
    _check_own(options, backend)


def check_data(options: Options, dataset: Dataset) -> None:
    """Finds what can be found once the data are read.

    Raises:
        SearchError: for anything that the user can mend.
    """
    what = "images" if dataset.groups == dataset.names else "groups"
    _check_folds(options, dataset.groups, (dataset.train, dataset.validation), what)


def check_demo(options: Options, images: int) -> None:
    """Finds before they are made what could be found in the made-up images of the demo.

    Args:
        options: what the user asked for.
        images: how many there will be.

    Raises:
        SearchError: for anything that the user can mend.
    """
    needed = 2 * _TILES + 1
    if images < needed:
        raise SearchError(
            f"--images: expected at least {needed}, since training, validation and test need one "
            f"micrograph of {_TILES} images each, received {images}"
        )
    if options.data.size < _SMALLEST_MICROGRAPH:
        raise SearchError(
            f"{_place(options, 'data.size')}: expected at least {_SMALLEST_MICROGRAPH} for the "
            f"micrographs of the demo, received {options.data.size}"
        )
    groups = [str(image // _TILES) for image in range(images)]
    # Bubbles are on every micrograph: only their number decides about the parts.
    data = options.data
    even = np.full(images, 0.1), np.ones((images, 2), np.bool_)
    train, validation, _ = split_groups(
        groups, *even, validation=data.validation, test=data.test, seed=data.seed
    )
    _check_folds(options, groups, (train, validation), "micrographs")


def _check_folds(
    options: Options, groups: Sequence[str], parts: Iterable[Indices], what: str
) -> None:
    kept = {groups[index] for part in parts for index in part}
    if options.folds > len(kept):
        raise SearchError(
            f"{_place(options, 'training.folds')}: expected at most {len(kept)}, the number of "
            f"{what} outside of the test, received {options.folds}; lower it, or add images"
        )


def _place(options: Options, path: str, *others: str) -> str:
    """How a message about a setting begins: with file and line if it was said in a file.

    Args:
        options: what the user asked for.
        path: of the setting.
        others: of those that contradict it; if only one of them was said, its place is told too.
    """
    for said in (path, *others):
        origin = options.origins.get(said, "")
        if origin.startswith("-"):
            # An option may as well go into a file, so both names are told.
            return label(path)
        if origin:
            return origin if said == path else f"{origin}: {label(path)}"
    return label(path)


def _check_sides(options: Options) -> None:
    size = options.data.size
    if options.crop is not None and options.crop >= size:
        raise SearchError(
            f"{_place(options, 'training.crop', 'data.size')}: expected less than "
            f"{label('data.size')}, {size}, received {options.crop}"
        )
    if options.model != "unet":
        return
    depth = int(options.model_options.get("depth", 3))
    for path, side in (("data.size", size), ("training.crop", options.crop)):
        if side is not None and side % 2**depth:
            raise SearchError(
                f"{_place(options, path, 'model.depth')}: expected a number divisible by "
                f"{2**depth}, since the U-Net halves the resolution {depth} times, received {side}"
            )


def _check_output(options: Options) -> None:
    output, place = options.output, _place(options, "output.folder")
    existing = next(folder for folder in (output, *output.absolute().parents) if folder.exists())
    if not existing.is_dir():
        what = "is a file" if existing == output else f"is inside of the file {existing}"
        raise SearchError(f"{place}: {output} {what}; give a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise SearchError(
            f"{place}: {existing} cannot be written to; give another folder, or "
            "correct its permissions"
        )
    for path, folder in (("data.images", options.data.images), ("data.masks", options.data.masks)):
        if folder is not None and output.resolve().is_relative_to(folder.resolve()):
            # Its pictures would be taken for images when the search goes on.
            raise SearchError(
                f"{place}: {output} lies in the folder of {label(path)}, where "
                "its pictures would be taken for images; give another folder"
            )


def _check_own(options: Options, backend: str | None) -> None:
    """The user's own model, losses and strategies: whether they can be imported and used."""
    if options.model != "unet":
        function = _imported(options.model, _place(options, "model.name"), backend)
        _check_model(options, function)
    place = _place(options, "search.terms")
    for name in filter(is_dotted, options.space.terms):
        term = options.space.terms[name]
        found = _imported(name, place, backend)
        import kerasloss

        _check_maker(found, name, kerasloss.losses.SegmentationLoss, place)
        arguments = (*term.ranges, *term.fixed, "from_logits")
        if options.data.ignore_value is not None:
            arguments += ("ignore_class",)
        section = options.origins.get(f"terms.{name}", f'[terms."{name}"]')
        if section.startswith("-"):
            section += f" {name}"
        _check_arguments(found, arguments, section)
        _check_saved(found, name, place)
    place = _place(options, "search.strategies")
    for name in filter(is_dotted, options.space.strategies):
        found = _imported(name, place, backend)
        import kerasloss

        _check_maker(found, name, kerasloss.weighting.Weighting, place)
        _check_arguments(found, (), place)
        if getattr(found, "learns", False):
            raise SearchError(
                f"{place}: {name} learns together with the model, by a layer "
                "that the models of a search do not have; take it out"
            )
        _check_saved(found, name, place)


def _check_maker(found: Any, name: str, base: type, what: str) -> None:
    """Whether something may make a loss or a strategy: a class of that kind, or a function."""
    # It is exported by the package of the module that defines it.
    kind = f"{base.__module__.rpartition('.')[0]}.{base.__name__}"
    if isinstance(found, type):
        sound = issubclass(found, base)
    else:
        sound = callable(found) and not isinstance(found, base)
    if not sound:
        raise SearchError(
            f"{what}: expected {name} to be a subclass of {kind} or a function that returns one, "
            f"received {_kind(found)}; derive it from that"
        )


def _check_saved(found: Any, name: str, what: str) -> None:
    """Whether what is written in the end could be loaded again; unknown of a function."""
    import keras

    known = keras.saving.get_registered_object
    if isinstance(found, type) and known(keras.saving.get_registered_name(found)) is not found:
        raise SearchError(
            f"{what}: {name} is not registered with Keras, so that kerasloss.load could not find "
            "it; decorate the class with @keras.saving.register_keras_serializable()"
        )


def _imported(name: str, what: str, backend: str | None) -> Any:
    """What `package.module:Name` names; its module is executed."""
    module_name, _, attribute = name.partition(":")
    if not is_dotted(name):
        raise SearchError(
            f"{what}: expected package.module:Name, received {name!r}; write it that way"
        )
    if backend is not None and "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as problem:
        missing = problem.name or module_name
        if module_name != missing and not module_name.startswith(f"{missing}."):
            raise SearchError(
                f"{what}: {module_name!r} imports {missing!r}, which is not installed; install it"
            ) from problem
        raise SearchError(
            f"{what}: there is no module {missing!r} where Python looks, nor in the folder of the "
            "study file or the one that the command is run in; correct the name, or run it there"
        ) from problem
    except (Exception, SystemExit) as problem:
        # Whatever a user's own file raises, a script that ends itself included: it cannot be
        # used, and this says why.
        reason = " ".join(str(problem).split()) or "no message"
        raise SearchError(
            f"{what}: {module_name!r} cannot be imported: {type(problem).__name__}: {reason}; "
            "correct that file"
        ) from problem
    if not hasattr(found, attribute):
        near = nearest(attribute, [one for one in vars(found) if not one.startswith("_")])
        hint = f"; did you mean {near!r}?" if near else "; correct the name after the colon"
        raise SearchError(f"{what}: module {module_name!r} has no {attribute!r}{hint}")
    return getattr(found, attribute)


def _check_model(options: Options, function: Any) -> None:
    name, place = options.model, _place(options, "model.name")
    if not callable(function):
        raise SearchError(
            f"{place}: expected {name} to be a function, received {_kind(function)}; "
            "name a function that returns a keras.Model"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    side = options.data.size
    try:
        signature.bind((side, side, 1), 1, **options.model_options)
    except TypeError as problem:
        given = "".join(f", {key}=..." for key in options.model_options)
        raise SearchError(
            f"{place}: {name} cannot be called as function((height, width, "
            f"channels), output_channels{given}): {problem}; correct the function or [model]"
        ) from problem


def _check_arguments(found: Any, given: tuple[str, ...], what: str) -> None:
    """Whether a loss or a strategy takes what the search will give it, and needs nothing else."""
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return
    name = found.__name__
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        for option in given:
            if option not in parameters:
                near = nearest(option, parameters)
                hint = f"; did you mean {near!r}?" if near else f"; give {name} that argument"
                raise SearchError(
                    f"{what}: expected an argument of {name} ({', '.join(parameters)}), received "
                    f"{option!r}{hint}"
                )
    for option, one in parameters.items():
        variadic = one.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        if one.default is inspect.Parameter.empty and not variadic and option not in given:
            raise SearchError(
                f"{what}: {name} needs a value for {option!r}; give one there, or a default in "
                f"{name}"
            )


def _kind(found: Any) -> str:
    return f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
