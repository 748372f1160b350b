"""Which trials run: the Optuna study, its resumption and its pruning. The only user of Optuna."""

from __future__ import annotations

import logging
import math
import statistics
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from kerasloss_search.space import Choice, Range, Recipe, Space

__all__ = ["Proposal", "Record", "Study", "StudyError"]

# Trials of the same family that must have finished before one may be pruned against them.
_FEWEST_PEERS = 4
# How often a trial is tried again whose worker died.
_RETRIES = 2


class StudyError(ValueError):
    """A stored study that does not fit what is asked for now."""


@dataclass(frozen=True)
class Proposal:
    """A trial to run."""

    number: int
    params: Mapping[str, Any]
    recipe: Recipe
    baseline: str | None
    retry_of: int | None


@dataclass(frozen=True)
class Record:
    """A trial that has ended.

    Attributes:
        number: of the trial.
        recipe: its loss.
        baseline: name of the plain loss that it is, or None.
        outcome: `"complete"`, `"pruned"`, `"collapsed"` (predicts no foreground), `"diverged"`
            (NaN) or `"failed"`.
        score: best score of an epoch; NaN where there is none.
        seconds: how long it took.
        curve: score of every epoch.
        note: the reason where it failed.
    """

    number: int
    recipe: Recipe
    baseline: str | None
    outcome: str
    score: float
    seconds: float
    curve: list[float] = field(default_factory=list)
    note: str = ""


class Study:
    """The trials of a search, in a database that one process at a time may write.

    Args:
        folder: the search's folder; the database is `study.db` in it.
        space: the search space.
        identity: what must be equal for two trials to be comparable, name -> value.
        epochs: epochs of a whole trial.
        seed: of the sampler.

    Raises:
        StudyError: if the folder holds a study of another kind; the message names the difference.
    """

    def __init__(
        self, folder: Path, space: Space, *, identity: Mapping[str, Any], epochs: int, seed: int
    ) -> None:
        self.space = space
        self._epochs = epochs
        self._distributions = {
            name: _distribution(limits) for name, limits in space.dimensions.items()
        }
        optuna.logging.set_verbosity(logging.ERROR)
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{(folder / 'study.db').resolve().as_posix()}",
            engine_kwargs={
                "connect_args": {"timeout": 60},
                "pool_events": [(_tune_sqlite, "connect")],
            },
        )
        self._study = optuna.create_study(
            storage=storage, study_name="kerasloss", direction="maximize", load_if_exists=True
        )
        self._compare({**identity, "space": space.fingerprint})
        self._finish_torn()
        trials = self._study.get_trials(deepcopy=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # A resumed sampler must not repeat the draws of its first session.
            self._study.sampler = optuna.samplers.TPESampler(seed=seed + len(trials))
        self._running: dict[int, tuple[optuna.Trial, Proposal]] = {}
        self._curves: dict[int, list[float]] = {}
        self._records = {
            trial.number: self._record(trial)
            for trial in trials
            if trial.state.is_finished() and "outcome" in trial.user_attrs
        }
        self.interrupted = self._requeue(trials)
        if not trials:
            for name, params in space.baselines().items():
                self._study.enqueue_trial(params, user_attrs={"baseline": name})

    @property
    def records(self) -> list[Record]:
        """Every trial that has ended by itself, in the order of their numbers."""
        return [self._records[number] for number in sorted(self._records)]

    @property
    def best(self) -> Record | None:
        """The record with the highest score; the earlier one of two equals."""
        complete = [record for record in self.records if record.outcome == "complete"]
        return max(complete, key=lambda record: record.score, default=None)

    @property
    def best_searched(self) -> Record | None:
        """The same among the trials that are no plain loss."""
        searched = [
            record
            for record in self.records
            if record.outcome == "complete" and record.baseline is None
        ]
        return max(searched, key=lambda record: record.score, default=None)

    @property
    def running(self) -> dict[int, Proposal]:
        """Number -> trial that this process has asked for and not told the end of."""
        return {number: proposal for number, (_, proposal) in self._running.items()}

    def ask(self) -> Proposal:
        """Returns the next trial: what was queued first, then what the sampler proposes."""
        trial = self._study.ask(self._distributions)
        attributes = trial.user_attrs
        proposal = Proposal(
            trial.number,
            dict(trial.params),
            self.space.decode(trial.params),
            attributes.get("baseline"),
            attributes.get("retry_of"),
        )
        self._running[trial.number] = trial, proposal
        self._curves[trial.number] = []
        return proposal

    def report(self, number: int, epoch: int, score: float, foreground: float) -> str | None:
        """Takes the score of an epoch; returns why the trial should stop, or None to go on.

        A trial is compared with finished trials of its own family alone, after a third of its
        epochs: losses of different families converge at different speed, and a common threshold
        would throw away those that start slowly and end high. Baselines always run to their end.
        """
        trial, proposal = self._running[number]
        trial.report(score, epoch)
        curve = self._curves[number]
        curve.append(score)
        if proposal.baseline is not None or 3 * (epoch + 1) < self._epochs:
            return None
        if epoch + 1 == self._epochs:
            return None
        # Many losses begin by predicting background everywhere and leave it again.
        if foreground == 0 and 2 * (epoch + 1) >= self._epochs:
            return "collapsed"
        peers = [
            max(record.curve[: epoch + 1])
            for record in self._records.values()
            if record.outcome == "complete"
            and len(record.curve) > epoch
            and record.recipe.family == proposal.recipe.family
        ]
        if len(peers) >= _FEWEST_PEERS and max(curve) < statistics.median(peers):
            return "pruned"
        return None

    def tell(
        self, number: int, outcome: str, score: float, seconds: float, note: str = ""
    ) -> Record:
        """Records the end of a trial."""
        trial, _ = self._running.pop(number)
        score = score if math.isfinite(score) else 0.0
        # The outcome last: with it the trial counts as ended, even if we are killed right here.
        for name, value in (
            ("score", score),
            ("seconds", seconds),
            ("note", note),
            ("outcome", outcome),
        ):
            trial.set_user_attr(name, value)
        self._close(number, outcome, score)
        self._records[number] = self._record(self._study.get_trials(deepcopy=False)[number])
        return self._records[number]

    def interrupt(self, number: int, note: str) -> Record | None:
        """Ends a trial whose worker is gone, and queues it again; the third time it has failed."""
        trial, _ = self._running[number]
        if trial.user_attrs.get("retries", 0) >= _RETRIES:
            return self.tell(number, "failed", math.nan, math.nan, note)
        self._running.pop(number)
        trial.set_user_attr("note", note)
        self._requeue([self._study.get_trials(deepcopy=False)[number]])
        return None

    def _close(self, number: int, outcome: str, score: float) -> None:
        if outcome == "complete":
            self._study.tell(number, score)
        elif outcome in ("pruned", "collapsed"):
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, state=TrialState.FAIL)

    def _finish_torn(self) -> None:
        """Completes what a killed process had begun to record."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING and "outcome" in trial.user_attrs:
                self._close(trial.number, trial.user_attrs["outcome"], trial.user_attrs["score"])

    def _requeue(self, trials: list[FrozenTrial]) -> list[int]:
        """Queues the trials again that were left running; returns their numbers."""
        queued = {t.user_attrs.get("retry_of") for t in self._study.get_trials(deepcopy=False)}
        lost = []
        for trial in trials:
            if trial.state.is_finished() and "outcome" in trial.user_attrs:
                continue
            # Failed without an outcome: we were killed right here, before it was queued.
            if trial.state not in (TrialState.RUNNING, TrialState.FAIL) or trial.number in queued:
                continue
            attributes = {
                "retry_of": trial.number,
                "retries": trial.user_attrs.get("retries", 0) + 1,
            }
            if "baseline" in trial.user_attrs:
                attributes["baseline"] = trial.user_attrs["baseline"]
            if trial.state == TrialState.RUNNING:
                self._study.tell(trial.number, state=TrialState.FAIL)
            # A trial that was queued itself has its parameters there from the start.
            params = trial.system_attrs.get("fixed_params") or trial.params
            self._study.enqueue_trial(params, user_attrs=attributes)
            lost.append(trial.number)
        return lost

    def _compare(self, identity: Mapping[str, Any]) -> None:
        stored = self._study.user_attrs.get("identity")
        if stored is None:
            self._study.set_user_attr("identity", dict(identity))
            return
        differs = [name for name in identity if stored.get(name) != identity[name]]
        if differs:
            changes = ", ".join(
                f"{name} (was {_brief(stored.get(name))}, is {_brief(identity[name])})"
                for name in differs
            )
            raise StudyError(
                f"the output folder holds a search with other settings: {changes}. Repeat the "
                "first command to go on with it, or give another --output."
            )

    def _record(self, trial: FrozenTrial) -> Record:
        curve = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
        return Record(
            trial.number,
            self.space.decode(trial.params),
            trial.user_attrs.get("baseline"),
            trial.user_attrs["outcome"],
            float(trial.user_attrs["score"]),
            trial.user_attrs.get("seconds", math.nan),
            curve,
            trial.user_attrs.get("note", ""),
        )


def _tune_sqlite(connection: Any, record: object) -> None:
    """A write a parameter is many writes: with a write-ahead log each costs a tenth.

    What was written survives the death of this process; a power cut may lose the last moments.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _distribution(limits: Range | Choice) -> BaseDistribution:
    if isinstance(limits, Choice):
        return CategoricalDistribution(limits.options)
    return FloatDistribution(limits.low, limits.high, log=limits.log)


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}..."
