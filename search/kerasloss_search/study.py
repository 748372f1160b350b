"""Which trials run: the Optuna study, its resumption and its pruning."""

from __future__ import annotations

import logging
import math
import uuid
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from kerasloss_search import database
from kerasloss_search.database import StudyError
from kerasloss_search.identity import changes
from kerasloss_search.importance import importance
from kerasloss_search.plain import best_of_each, name_of, other_rates
from kerasloss_search.pruning import FamilyMedian
from kerasloss_search.records import Proposal, Record
from kerasloss_search.scores import SCORES
from kerasloss_search.space import Space

__all__ = ["Study", "StudyError"]

# How often a trial is tried again whose worker died.
_RETRIES = 2
# How long a write waits for another program that has locked the database. Optuna tries some of
# its writes five times.
_LOCK_WAIT_S = 10


class Study:
    """The trials of a search, in a database that one process at a time may write.

    Args:
        folder: the search's folder; the database is `study.db` in it.
        space: the search space.
        identity: what must be equal for two trials to be comparable, name -> value.
        epochs: epochs of a whole trial.
        seed: of the sampler.
        scores: names of what trials are judged by; with several, trials are sought that no other
            one surpasses in all of them.
        pruning: whether trials that fall behind their family are stopped.

    Attributes:
        begun: numbers of the trials that were handed out before this study was opened.

    Raises:
        StudyError: if the folder holds a study of another kind; the message names the difference.
    """

    def __init__(
        self,
        folder: Path,
        space: Space,
        *,
        identity: Mapping[str, Any],
        epochs: int,
        seed: int,
        scores: Sequence[str] = ("dice",),
        pruning: bool = True,
    ) -> None:
        self.space = space
        self.scores = [SCORES[name] for name in scores]
        self._sign = self.scores[0].sign
        self._pruning = pruning
        self._epochs = epochs
        self._distributions = {
            name: database.distribution(limits) for name, limits in space.dimensions.items()
        }
        optuna.logging.set_verbosity(logging.ERROR)
        self._study = optuna.create_study(
            storage=database.opened(folder / "study.db", wait_s=_LOCK_WAIT_S),
            study_name="kerasloss",
            directions=[
                "maximize" if score.higher_is_better else "minimize" for score in self.scores
            ],
            load_if_exists=True,
        )
        self._compare({**identity, "scores": list(scores), "space": space.fingerprint})
        self._spent_s = float(self._study.user_attrs.get("spent_s", 0.0))
        self._finish_torn()
        trials = self._study.get_trials(deepcopy=False)
        self.begun = {trial.number for trial in trials if trial.state != TrialState.WAITING}
        if "record" not in self._study.user_attrs:
            self.renew()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.set_metric_names([score.name for score in self.scores])
            # A resumed sampler must not repeat the draws of its first session.
            self._study.sampler = optuna.samplers.TPESampler(seed=seed + len(trials))
        self._running: dict[int, tuple[optuna.Trial, Proposal]] = {}
        self._curves: dict[int, list[float]] = {}
        self._finished = FamilyMedian()
        self._records: dict[int, Record] = {}
        for trial in trials:
            if trial.state.is_finished() and "ending" in trial.user_attrs:
                self._remember(self._record(trial))
        self.interrupted = self._requeue(trials)
        # One by one: a session that was killed right here has queued only some of them.
        # What failed for a reason that may be mended since has another try, but not for ever.
        # An attempt that was interrupted is none: it was queued again, and ends or fails as that.
        tried = Counter(
            trial.user_attrs.get("baseline")
            for trial in self._study.get_trials(deepcopy=False)
            if not trial.state.is_finished() or "ending" in trial.user_attrs
        )
        failed = Counter(r.baseline for r in self._records.values() if r.outcome == "failed")
        for name, params in space.baselines().items():
            if tried[name] == failed[name] <= _RETRIES:
                self._study.enqueue_trial(params, user_attrs={"baseline": name})
        self._retune()

    def _retune(self) -> None:
        """Queues the best plain loss with other learning rates, once all plain ones have ended."""
        trials = self._study.get_trials(deepcopy=False)
        tried = {t.user_attrs["baseline"] for t in trials if "baseline" in t.user_attrs}
        for label, params in other_rates(self.space, self.records, tried, self.merit).items():
            self._study.enqueue_trial(dict(params), user_attrs={"baseline": label})

    @property
    def id(self) -> str:
        """Tells a study from another that was in this folder before, with the same numbers."""
        return str(self._study.user_attrs["record"]["id"])

    @property
    def recorded_from(self) -> int:
        """Number of the first trial that has run under this id."""
        return int(self._study.user_attrs["record"]["from"])

    def renew(self) -> None:
        """Takes another id: what runs from now on is not what ran before under these numbers."""
        record = {"id": uuid.uuid4().hex, "from": 1 + max(self.begun, default=-1)}
        self._study.set_user_attr("record", record)

    @property
    def records(self) -> list[Record]:
        """Every trial that has ended by itself, in the order of their numbers."""
        return [self._records[number] for number in sorted(self._records)]

    @property
    def ended(self) -> int:
        """Number of trials that have ended by themselves."""
        return len(self._records)

    @property
    def best(self) -> Record | None:
        """The record with the best first score; the earlier one of two equals."""
        complete = [record for record in self.records if record.outcome == "complete"]
        return max(complete, key=self.merit, default=None)

    @property
    def pareto(self) -> list[int]:
        """Numbers of the trials that no other one surpasses in all scores."""
        return sorted(trial.number for trial in self._study.best_trials)

    @property
    def spent_s(self) -> float:
        """How long the search has taken, all sessions together; kept by `spend`."""
        return self._spent_s

    def spend(self, seconds: float) -> None:
        """Adds to `spent_s`."""
        self._spent_s += seconds
        self._study.set_user_attr("spent_s", self._spent_s)

    def importance(self) -> dict[str, float]:
        """Parameter -> how much of the difference between trials it explains by itself."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        used = [self.space.used(trial.params) for trial in trials]
        return importance([t.params for t in trials], [t.values[0] for t in trials], used)

    def merit(self, record: Record) -> float:
        """The first score, turned so that more is better."""
        return self._sign * record.score

    def candidates(self, count: int) -> list[Record]:
        """The searched losses that are worth training anew: the best ones, by the first score.

        With several scores those that no other surpasses in all of them come first. A plain loss
        that the sampler has drawn is none of them, whatever its learning rate: see `plain`.
        """
        front = self.pareto if len(self.scores) > 1 else []
        searched = [
            record
            for record in self.records
            if record.outcome == "complete"
            and record.baseline is None
            and name_of(self.space, record.recipe) is None
        ]
        searched.sort(key=lambda record: (record.number not in front, -self.merit(record)))
        return searched[:count]

    def plain(self) -> list[Record]:
        """The plain losses that ended, each with the learning rate that did best for it."""
        complete = [record for record in self.records if record.outcome == "complete"]
        return best_of_each(self.space, complete, self.merit)

    @property
    def running(self) -> dict[int, Proposal]:
        """Number -> trial that this process has asked for and not told the end of."""
        return {number: proposal for number, (_, proposal) in self._running.items()}

    def ask(self) -> Proposal:
        """Returns the next trial: what was queued first, then what the sampler proposes."""
        with warnings.catch_warnings():
            # A plain loss stays what it is where the search was told to look elsewhere.
            warnings.filterwarnings("ignore", "Fixed parameter", UserWarning)
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
        if len(self.scores) == 1:
            # For the plots of other tools; Optuna takes none for several scores.
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
        # With several scores the first one alone is no reason: another may be worth its price.
        if not self._pruning or len(self.scores) > 1:
            return None
        turned = [self._sign * value for value in curve]
        if self._finished.behind(proposal.recipe.family, turned):
            return "pruned"
        return None

    def tell(
        self,
        number: int,
        outcome: str,
        values: Mapping[str, float],
        seconds: float,
        note: str = "",
    ) -> Record:
        """Records the end of a trial; `values` are all scores, or empty where there is none."""
        trial, _ = self._running.pop(number)
        if outcome == "complete" and not all(map(math.isfinite, values.values())):
            outcome, note = "failed", f"a score is not finite: {dict(values)}"
        ending = {
            "values": {name: value for name, value in values.items() if math.isfinite(value)},
            "seconds": seconds if math.isfinite(seconds) else None,
            "curve": self._curves.pop(number),
            "note": note,
            "outcome": outcome,
        }
        # In one write: with it the trial counts as ended, even if we are killed right here.
        trial.set_user_attr("ending", ending)
        self._close(number, ending)
        self._remember(self._record(self._study.get_trials(deepcopy=False)[number]))
        if self._records[number].baseline is not None:
            self._retune()
        return self._records[number]

    def _remember(self, record: Record) -> None:
        self._records[record.number] = record
        if record.outcome == "complete":
            turned = [self._sign * value for value in record.curve]
            self._finished.add(record.recipe.family, turned)

    def interrupt(self, number: int, note: str) -> Record | None:
        """Ends a trial whose worker is gone, and queues it again; the third time it has failed."""
        trial, _ = self._running[number]
        if trial.user_attrs.get("retries", 0) >= _RETRIES:
            return self.tell(number, "failed", {}, math.nan, note)
        self._running.pop(number)
        trial.set_user_attr("note", note)
        self._requeue([self._study.get_trials(deepcopy=False)[number]], lost=True)
        return None

    def withdraw(self, number: int) -> None:
        """Puts a trial that nobody has begun back into the queue."""
        self._running.pop(number)
        del self._curves[number]
        self._requeue([self._study.get_trials(deepcopy=False)[number]])

    def _close(self, number: int, ending: Mapping[str, Any]) -> None:
        outcome = ending["outcome"]
        if outcome == "complete":
            self._study.tell(number, [ending["values"][score.name] for score in self.scores])
        elif outcome in ("pruned", "collapsed"):
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, state=TrialState.FAIL)

    def _finish_torn(self) -> None:
        """Completes what a killed process had begun to record."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING and "ending" in trial.user_attrs:
                self._close(trial.number, trial.user_attrs["ending"])

    def _requeue(self, trials: list[FrozenTrial], *, lost: bool = False) -> list[int]:
        """Queues the trials again that were left running; returns their numbers.

        `lost` says that a worker was lost with them, which counts against them.
        """
        queued = {t.user_attrs.get("retry_of") for t in self._study.get_trials(deepcopy=False)}
        found = []
        for trial in trials:
            if trial.state.is_finished() and "ending" in trial.user_attrs:
                continue
            # Failed without an outcome: we were killed right here, before it was queued.
            if trial.state not in (TrialState.RUNNING, TrialState.FAIL) or trial.number in queued:
                continue
            attributes = {
                "retry_of": trial.number,
                "retries": trial.user_attrs.get("retries", 0) + lost,
            }
            if "baseline" in trial.user_attrs:
                attributes["baseline"] = trial.user_attrs["baseline"]
            if trial.state == TrialState.RUNNING:
                self._study.tell(trial.number, state=TrialState.FAIL)
            # A trial that was queued itself has its parameters there from the start.
            params = trial.system_attrs.get("fixed_params") or trial.params
            self._study.enqueue_trial(params, user_attrs=attributes)
            found.append(trial.number)
        return found

    def _compare(self, asked: Mapping[str, Any]) -> None:
        stored = self._study.user_attrs.get("identity")
        if stored is None:
            self._study.set_user_attr("identity", dict(asked))
            return
        if found := changes(stored, asked):
            raise StudyError(
                f"the output folder holds a search with other settings: {found}. Repeat the "
                "first command to go on with it, or give another --output."
            )

    def _record(self, trial: FrozenTrial) -> Record:
        ending = trial.user_attrs["ending"]
        seconds = ending["seconds"]
        return Record(
            trial.number,
            self.space.decode(trial.params),
            trial.user_attrs.get("baseline"),
            ending["outcome"],
            ending["values"].get(self.scores[0].name, math.nan),
            math.nan if seconds is None else seconds,
            ending["values"],
            ending["curve"],
            ending["note"],
            dict(trial.params),
        )
