"""The search from Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasloss_search.outbox import without_password
from kerasloss_search.settings import assembly, study_file
from kerasloss_search.settings.study_file import Given, StudyFileError
from kerasloss_search.settings.table import SETTINGS
from kerasloss_search.settings.wording import Wrong, nearest

if TYPE_CHECKING:
    from kerasloss.losses import SegmentationLoss

__all__ = ["Outcome", "search"]


@dataclass(frozen=True)
class Outcome:
    """What a search has come to.

    Attributes:
        folder: the output folder, with everything that was written.
        verdict: what may be said about the best searched loss against the plain ones.
        results: content of `results.json`: every trial and what it was judged by.
    """

    folder: Path
    verdict: str
    results: Mapping[str, Any]

    @cached_property
    def loss(self) -> SegmentationLoss:
        """The best loss, ready for `model.compile(loss=...)`."""
        import kerasloss

        return kerasloss.load(self.folder / "best_loss.json")


def search(
    study: str | PathLike[str] | Mapping[str, Any] | None = None,
    /,
    *,
    verbose: bool = True,
    **settings: Any,
) -> Outcome:
    """Searches the loss that suits a data set, or goes on with a search.

    The trials run in other processes, which import the calling script: in a script the call has to
    stand below `if __name__ == "__main__":`.

    Args:
        study: path of a study file, or a mapping with the same sections; the keywords override
            it.
        verbose: whether progress and result are printed.
        **settings: any setting by the name of its option, with `_` for `-`: `images`, `masks`,
            `trials`, `time`, `scores`, `terms`, `epochs`, `output` and so on; `None` stands for
            nothing said. `term_options` is a mapping such as `{"focal": {"gamma": [1, 4]}}`,
            `model_options` holds arguments of the model's function.

    Returns:
        The outcome. Its `loss` is the best loss, loaded.

    Raises:
        ValueError: for a setting that is unknown, missing, or of a value that it never takes.
        DataError: with all the problems of the data.
        SearchError: for settings that do not go together, as fewer trials than there are plain
            losses or a size that the U-Net cannot halve, and for anything else that the user can
            mend. It is no `ValueError`.
        KeyboardInterrupt: if the search was stopped by Ctrl-C; the same call goes on.

    Example:

    ```python
    import kerasloss_search

    if __name__ == "__main__":
        outcome = kerasloss_search.search(
            images="micrographs", masks="masks", group=r"(.*)_\\d+", trials=30, output="results"
        )
        print(outcome.verdict)
        model.compile(optimizer="adam", loss=outcome.loss)
    ```
    """
    given = Given()
    if isinstance(study, Mapping):
        given = study_file.read_mapping(study)
    elif study is not None:
        given = study_file.read(Path(fspath(study)))
    given = given.overridden(_by_keyword(settings))
    options = assembly.options_of(given, command=_call(study, settings))
    if given.base is not None:
        assembly.look_for_own(options.space, options.model, str(given.base))
    # Now, since it imports Optuna and MLflow.
    from rich.console import Console

    from kerasloss_search import session

    if session.run(options, Console(quiet=not verbose)) != 0:
        raise KeyboardInterrupt
    results = json.loads((options.output / "results.json").read_text(encoding="utf-8"))
    return Outcome(options.output, "\n".join(results["verdict"]), results)


def _call(study: Any, settings: Mapping[str, Any]) -> str:
    """The call as it would be written once more; passwords do not belong into results."""
    given = [_written(study)] if study is not None else []
    given += [f"{name}={_written(value)}" for name, value in settings.items() if value is not None]
    return f"kerasloss_search.search({without_password(', '.join(given))})"


def _written(value: Any) -> str:
    if isinstance(value, PathLike):
        return repr(fspath(value))
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_written(one)}' for key, one in value.items())}}}"
    return repr(value)


def _by_keyword(settings: Mapping[str, Any]) -> Given:
    """Keywords as what the user has said.

    Raises:
        StudyFileError: with all mistakes at once.
    """
    known = {setting.option.lstrip("-").replace("-", "_"): setting for setting in SETTINGS}
    free = ("term_options", "model_options")
    content: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    origins: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if value is None:
            continue
        if name in known:
            setting = known[name]
            try:
                values[setting.path] = setting.kind.check(value)
                origins[setting.path] = name
            except Wrong as problem:
                problems.append(f"{name}: {problem}")
        elif name not in free:
            near = nearest(name, [*known, *free])
            hint = f"; did you mean {near}?" if near else "; the documentation lists all settings"
            problems.append(f"{name}: there is no such setting{hint}")
        elif not isinstance(value, Mapping):
            problems.append(f"{name}: {Wrong('a mapping', value)}")
        elif name == "term_options":
            content["terms"] = dict(value)
        else:
            problems += [
                f"{name}: {Wrong('names of arguments', key)}; correct it"
                for key in value
                if not isinstance(key, str) or not key.isidentifier()
            ]
    try:
        terms = study_file.read_mapping(content, "term_options").terms
    except StudyFileError as problem:
        problems += problem.problems
        terms = {}
    if problems:
        raise StudyFileError(problems)
    origins |= {f"terms.{term}": "term_options" for term in terms}
    return Given(values, terms, dict(settings.get("model_options") or {}), origins)
