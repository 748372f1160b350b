"""The end of a search: final trainings, judgement, files, and what the user is told."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from kerasloss_search.archive import own_names
from kerasloss_search.dataset import Dataset
from kerasloss_search.driver import Driver, SearchError
from kerasloss_search.files import final_file, read_json, write_json
from kerasloss_search.findings import findings
from kerasloss_search.jobs import Final, Settings
from kerasloss_search.judgement import Judgement, judge, sentences
from kerasloss_search.provenance import provenance, settings_to_json
from kerasloss_search.records import Record
from kerasloss_search.report.closing import closing_table
from kerasloss_search.report.write import write_report
from kerasloss_search.results import content
from kerasloss_search.settings.options import Options
from kerasloss_search.study import Study
from kerasloss_search.tracking import Tracker

__all__ = ["conclude", "tell", "write_results_so_far"]

# Seeds of the final stage are no seeds of a search.
_FRESH = 1_000


def conclude(
    driver: Driver,
    study: Study,
    dataset: Dataset,
    settings: Settings,
    options: Options,
    backend: str,
) -> Judgement:
    """Trains the best losses and the plain ones anew, judges them, and writes the results."""
    folder = options.output
    if study.best is None:
        raise SearchError(
            "no trial ended with a score. The reasons are in "
            f"{folder / 'workers.log'} and in the MLflow runs."
        )
    chosen = study.plain() + study.candidates(options.final_top)
    seeds = [options.seed + _FRESH + index for index in range(options.final_seeds)]
    trained = driver.finals(chosen, seeds)
    finals = trained.finals
    left_out = {**trained.failed, **_diverged(finals)}
    sound = [record for record in chosen if record.number not in left_out]
    if not sound:
        raise SearchError(
            "every loss became NaN or infinite in one of its final trainings, or failed, so there "
            "is nothing to compare. A lower --learning-rate, and another --output, may help."
        )
    groups = groups_of_test(dataset)
    judgement = judge(sound, finals, groups, study.scores)
    best, importance = judgement.best, study.importance()
    training = _best_training(judgement, study, best)
    weights = _weights_file(folder, training)
    if not weights.exists():
        # A session with other seeds has tidied them away: the same training once more.
        final_file(folder, training.trial, training.seed).unlink()
        driver.finals([best], [training.seed])
    driver.call("export", best.recipe, weights, folder)
    known = provenance(
        settings,
        backend=backend,
        fingerprint=dataset.fingerprint,
        seeds=seeds,
        command=options.command,
        asked=_asked(options),
    )
    # What `repeat` executes has to be named.
    own = [word for name in own_names(settings) for word in ("--own", name)]
    known["repeat"] = shlex.join(["kerasloss-search", "repeat", str(folder), *own])
    found = {
        "loss": best.recipe.label,
        "optimizer": best.recipe.optimizer,
        "learning_rate": best.recipe.learning_rate,
    }
    write_json(folder / "best_loss.provenance.json", {**found, **known})
    looks = _looks(folder, finals)
    extra = {
        "looks": looks,
        "provenance": known,
        "importance": importance,
        "settings": settings_to_json(settings),
    }
    words = sentences(judgement, study.scores)
    if looks > 1:
        words.append(
            f"The test images were looked at {looks} times, after each of so many sessions: the "
            "p-values do not account for that."
        )
    words += [
        f"{record.recipe.label} was left out of the comparison: {left_out[record.number]}."
        for record in chosen
        if record not in sound
    ]
    said = {"verdict": words, "findings": findings(study.records, importance, study.scores[0])}
    _write_results(study, folder, judgement=judgement, groups=groups, words=said, extra=extra)
    _tidy(judgement, study, folder)
    return judgement


def _looks(folder: Path, finals: Mapping[int, Sequence[Final]]) -> int:
    """How often the test images have been compared on, with other losses or seeds each time."""
    stored = read_json(folder / "results.json") or {}
    before = {(one["trial"], seed) for one in stored.get("finals", ()) for seed in one["seeds"]}
    now = {(final.trial, final.seed) for some in finals.values() for final in some}
    return int(stored.get("looks", 1)) + (not now <= before) if before else 1


def _asked(options: Options) -> dict[str, Any]:
    """The settings that say which data, how much and by what, as plain data."""
    data = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(options.data).items()
    }
    return {
        "data": data,
        "trials": options.trials,
        "time_s": options.time_s,
        "scores": list(options.scores),
        "pruning": options.pruning,
        "final_top": options.final_top,
        "final_seeds": options.final_seeds,
    }


def _diverged(finals: Mapping[int, Sequence[Final]]) -> dict[int, str]:
    """Trial -> what is to be said of it, where a training has no score."""
    counts = {number: sum(final.diverged for final in some) for number, some in finals.items()}
    return {
        number: f"its loss became NaN or infinite in {count} of {len(finals[number])} trainings "
        "anew"
        for number, count in counts.items()
        if count
    }


def _tidy(judgement: Judgement, study: Study, folder: Path) -> None:
    """Keeps the best weights of every loss: a later session may come to another choice of loss."""
    for record in judgement.records:
        best = _best_training(judgement, study, record)
        for final in judgement.finals[record.number]:
            if final is not best:
                _weights_file(folder, final).unlink(missing_ok=True)


def _weights_file(folder: Path, final: Final) -> Path:
    return final_file(folder, final.trial, final.seed).with_suffix(".weights.npz")


def write_results_so_far(study: Study, folder: Path) -> None:
    """Writes what is known of a search that has not come to its end.

    Without what takes seconds in a long search, as whoever has pressed Ctrl-C waits.
    """
    stored = read_json(folder / "results.json")
    if stored and stored.get("finals"):
        return  # Of an earlier session, which came to its end: worth more than what is new.
    words = ["The search has not come to its end: nothing is trained anew and compared yet."]
    later = "Which terms and parameters matter is worked out at the end of the search."
    said = {"verdict": words, "findings": [later]}
    _write_results(study, folder, judgement=None, groups=[], words=said, extra={"importance": {}})


def _write_results(
    study: Study,
    folder: Path,
    *,
    judgement: Judgement | None,
    groups: Sequence[str],
    words: Mapping[str, Sequence[str]],
    extra: Mapping[str, Any],
) -> None:
    more = {"pareto": study.pareto if len(study.scores) > 1 else None, **extra}
    found = content(
        folder,
        study.records,
        study.scores,
        judgement=judgement,
        groups=groups,
        words=words,
        extra=more,
    )
    write_json(folder / "results.json", found)


def groups_of_test(dataset: Dataset) -> list[str]:
    """Group of every test image, in their order."""
    return [dataset.groups[index] for index in dataset.test]


def _best_training(judgement: Judgement, study: Study, record: Record) -> Final:
    """Of a loss, the training that did best on validation images."""
    sign = study.scores[0].sign
    return max(judgement.finals[record.number], key=lambda final: sign * final.validation)


def tell(
    judgement: Judgement,
    dataset: Dataset,
    study: Study,
    folder: Path,
    tracker: Tracker,
    console: Console,
) -> None:
    for name in (
        "best_loss.json",
        "best_loss.provenance.json",
        "best_model.keras",
        "results.json",
    ):
        tracker.log_artifact(None, folder / name)
    for path in write_report(folder):
        tracker.log_artifact(None, path, "" if path.parent == folder else "report")
    console.print()
    console.print(closing_table(judgement, groups_of_test(dataset), study.scores[0]))
    results = read_json(folder / "results.json")
    recipe = judgement.best.recipe
    use = f'model.compile(loss=kerasloss.load("{folder / "best_loss.json"}"))'
    if recipe.strategy != "static" or recipe.auxiliary_scale > 0:
        use += "  # and fit(callbacks=[kerasloss.DynamicWeighting()])"
    for sentence in (*results["verdict"], "", *results["findings"]):
        console.print(sentence, highlight=False, markup=False)
    console.print(
        f"\nIn {folder}: report.html, best_loss.json, best_model.keras, results.json\n"
        f"Use the loss:  {use}\n"
        f"See every run: kerasloss-search ui --output {shlex.quote(str(folder))}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
