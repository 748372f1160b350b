"""From what the user has said, by file or by option, to what the search is asked to do."""

from __future__ import annotations

import math
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasloss_search.catalogue import TERMS, Range
from kerasloss_search.data import DataOptions
from kerasloss_search.settings.accepted import checked_option
from kerasloss_search.settings.options import Options
from kerasloss_search.settings.study_file import Given, StudyFileError
from kerasloss_search.settings.table import SETTINGS, find, label
from kerasloss_search.settings.wording import Wrong, nearest, shown
from kerasloss_search.space import Space, is_dotted

__all__ = ["given_by_options", "look_for_own", "options_of"]


def given_by_options(
    values: Mapping[str, Any], terms: Sequence[str] = (), model: Sequence[str] = ()
) -> Given:
    """What has been said on the command line.

    Args:
        values: path of a setting -> checked value.
        terms: texts of `--term-option`, `NAME.OPTION=VALUE`.
        model: texts of `--model-option`, `NAME=VALUE`.

    Raises:
        ValueError: with one line for each text that cannot be used.
    """
    problems: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    for text in terms:
        path, equals, value = text.partition("=")
        term, dot, option = path.rpartition(".")
        try:
            if not equals or not dot:
                raise Wrong("NAME.OPTION=LOW,HIGH, =LOW,HIGH,log or =VALUE", text)
            if term not in TERMS and not is_dotted(term):
                raise Wrong("a term's name before the dot", term, nearest(term, TERMS))
            found.setdefault(term, {})[option] = _checked_term(term, option, value)
        except Wrong as problem:
            problems.append(f"--term-option {path}: {problem}")
    arguments: dict[str, Any] = {}
    for text in model:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            problems.append(f"--model-option: {Wrong('NAME=VALUE', text)}")
            continue
        try:
            arguments[name] = _literal(value)
        except Wrong as problem:
            problems.append(f"--model-option {name}: {problem}")
    if problems:
        raise ValueError("\n".join(problems))
    origins = {path: find(path).option for path in values}
    origins |= {f"terms.{term}": "--term-option" for term in found}
    return Given(dict(values), found, arguments, origins)


def options_of(
    given: Given,
    *,
    command: str = "kerasloss-search run",
    defaults: Mapping[str, Any] | None = None,
) -> Options:
    """What the search is asked to do.

    Args:
        given: what the user has said.
        command: what was typed.
        defaults: path -> default instead of the usual one.

    Raises:
        ValueError: where two settings contradict each other, or one is missing.
    """
    usual = {setting.path: setting.default for setting in SETTINGS} | dict(defaults or {})
    value = {**usual, **given.values}
    if value["data.images"] is None:
        raise ValueError(
            f"{label('data.images')}: expected the folder of the images, received nothing; give it"
        )
    if value["data.masks"] is None and value["data.mask-pattern"] is None:
        raise ValueError(
            f"{label('data.masks')}: expected the folder of the masks or a pattern, received "
            f"neither; give it, or {label('data.mask-pattern')}"
        )
    output = Path(value["output.folder"])
    if given.base is not None and "output.folder" not in given.values:
        # The default follows the rule for what stands in a file: it starts at the file's folder.
        output = given.base / output
    trials = value["search.trials"]
    if value["search.time"] is not None and "search.trials" not in given.values:
        trials = None
    seed = value["search.seed"]
    return Options(
        data=DataOptions(
            images=value["data.images"],
            masks=value["data.masks"],
            mask_pattern=value["data.mask-pattern"],
            classes=value["data.classes"],
            size=value["data.size"],
            group=value["data.group"],
            seed=seed,
            validation=value["data.validation"],
            test=value["data.test"],
            ignore_value=value["data.ignore-value"],
        ),
        output=output,
        space=_space(given, value),
        trials=trials,
        time_s=value["search.time"],
        scores=value["search.scores"],
        pruning=value["search.pruning"],
        epochs=value["training.epochs"],
        batch_size=value["training.batch-size"],
        crop=value["training.crop"],
        augment=value["training.augmentation"],
        folds=value["training.folds"],
        seed=seed,
        model=value["model.name"],
        model_options=_model_options(given, value),
        from_logits=value["model.from-logits"],
        final_top=value["final.top"],
        final_seeds=value["final.seeds"],
        workers=value["search.workers"],
        trials_per_gpu=value["search.trials-per-gpu"],
        backend=value["search.backend"],
        tracking_uri=value["tracking.uri"],
        command=command,
        origins=dict(given.origins),
    )


def look_for_own(space: Space, model: str, *folders: str) -> None:
    """Has Python look in these folders first, if there are modules of the user to be found.

    Workers inherit that. Without such modules a file of the user, which may have the name of any
    other module, has no business there.
    """
    if not any(is_dotted(name) for name in (model, *space.terms, *space.strategies)):
        return
    for folder in reversed(folders):
        if folder not in sys.path:
            sys.path.insert(0, folder)


def _space(given: Given, value: Mapping[str, Any]) -> Space:
    names = value["search.terms"]
    for term in given.terms:
        if term not in names:
            place = given.origins.get(f"terms.{term}", f"[terms.{term}]")
            raise _contradiction(
                f"{place}: expected a term that is chosen ({', '.join(names)}), received "
                f"{shown(term)}; add it to {label('search.terms')}, or take this away"
            )
    if given.values.get("search.max-terms", 0) > len(names):
        place = given.origins.get("search.max-terms", label("search.max-terms"))
        raise _contradiction(
            f"{place}: expected at most {len(names)}, the number of terms to choose from, received "
            f"{value['search.max-terms']}; lower it, or allow more terms"
        )
    if "static" not in value["search.strategies"]:
        place = given.origins.get("search.strategies", label("search.strategies"))
        raise _contradiction(
            f"{place}: expected static among the strategies, since a single term has no other, "
            f"received {shown(value['search.strategies'])}; add it"
        )
    rate: Range = value["search.learning-rate"]
    usual = Space.usual_learning_rate
    if not rate.low <= usual <= rate.high:
        usual = math.sqrt(rate.low * rate.high)
    return Space.of(
        names,
        given.terms,
        max_terms=value["search.max-terms"],
        weights=value["search.weights"],
        strategies=value["search.strategies"],
        auxiliary=value["search.auxiliary"],
        optimizers=value["search.optimizers"],
        learning_rate=rate,
        usual_learning_rate=usual,
    )


def _contradiction(message: str) -> ValueError:
    """A mistake that takes two settings; one that was made in a file begins with its line."""
    return ValueError(message) if message.startswith("-") else StudyFileError([message])


def _model_options(given: Given, value: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the model's function: those of the U-Net have defaults."""
    known = {setting.key: setting for setting in SETTINGS if setting.only == "unet"}
    said = {
        key: given.values[setting.path]
        for key, setting in known.items()
        if setting.path in given.values
    }
    if value["model.name"] != "unet":
        return {**said, **given.model_options}
    for key in given.model_options:
        if key not in known:
            wrong = Wrong(
                f"an argument of the U-Net ({', '.join(known)})", key, nearest(key, known)
            )
            raise ValueError(f"--model-option or [model]: {wrong}")
    arguments = {key: value[setting.path] for key, setting in known.items()}
    for key, one in given.model_options.items():
        try:
            arguments[key] = known[key].kind.check(one)
        except Wrong as problem:
            raise ValueError(f"{label(known[key].path)}: {problem}") from None
    return arguments


def _checked_term(term: str, option: str, text: str) -> Range | float | str | bool:
    """What `--term-option` says; a fault is told with the text as it was typed."""
    value = _term_value(text)
    try:
        return checked_option(term, option, value)
    except Wrong as problem:
        raise problem.about(text) if problem.received is value else problem from None


def _term_value(text: str) -> Any:
    """`0.5,2` is a range, `0.5,2,log` a logarithmic one, anything else a value."""
    inner = text.strip()
    if inner.startswith("[") and inner.endswith("]") and "," in inner:
        # As a study file has it.
        inner = inner[1:-1]
    parts = [part.strip() for part in inner.split(",")]
    if len(parts) == 1:
        return _literal(text)
    log = len(parts) == 3 and parts[2] == "log"
    try:
        low, high = (float(part) for part in parts[: 2 if log else None])
    except ValueError:
        raise Wrong("LOW,HIGH, LOW,HIGH,log or a single value", text) from None
    if not -math.inf < low < high < math.inf:
        raise Wrong("LOW,HIGH with LOW < HIGH", text)
    if log and low <= 0:
        raise Wrong("LOW > 0, since the range is logarithmic", text)
    return {"low": low, "high": high, "log": log}


def _literal(text: str) -> Any:
    """A number, true or false, or else the text itself.

    Raises:
        Wrong: for what Python or TOML would read as something else, and a model as a text.
    """
    text = text.strip()
    if text in ("True", "False"):
        # As Python writes them; taken for a text, either would count as true.
        return text == "True"
    if text == "None":
        raise Wrong("a number, a text, true or false; leave it away for nothing", text)
    if text[:1] in ("[", "{", "("):
        raise Wrong("a single value: a number, a text, true or false", text)
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, (bool, int, float, str)) else text
