"""What the tracker is told of a study: how its trials begin and end, and what is made up for."""

from __future__ import annotations

import math

from kerasloss_search.jobs import Final
from kerasloss_search.records import Proposal, Record
from kerasloss_search.study import Study
from kerasloss_search.tracking import Status, Tracker

__all__ = ["begin_run", "catch_up", "close_ended", "close_run", "log_final", "settle"]

# MLflow's word for each way a trial can end.
_STATUS: dict[str, Status] = {
    "complete": "FINISHED",
    "pruned": "KILLED",
    "collapsed": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
}


def settle(study: Study, tracker: Tracker) -> None:
    """Takes up the record of the study, and closes the runs that a killed session has left open."""
    other = tracker.study != study.id
    if tracker.knows(study.id) and (other or not tracker.started <= study.begun):
        # An older copy of the database: it gives numbers anew that the record has for other
        # losses, so its record begins anew, too.
        study.renew()
    tracker.open_study(study.id)
    close_ended(study, tracker)
    for number in tracker.open_trials():
        tracker.end_trial(number, "KILLED", {}, {"state": "interrupted"})


def catch_up(study: Study, tracker: Tracker) -> None:
    """Tells the tracker of trials from before its record of the study began."""
    for record in study.records:
        if record.number >= study.recorded_from or record.number in tracker.started:
            continue
        _begin(tracker, record, None)
        for epoch, score in enumerate(record.curve):
            tracker.log_epoch(record.number, epoch, {"score": score})
        close_run(tracker, record)


def begin_run(tracker: Tracker, proposal: Proposal) -> None:
    """A trial begins."""
    _begin(tracker, proposal, proposal.retry_of)


def _begin(tracker: Tracker, trial: Proposal | Record, retry_of: int | None) -> None:
    tags = {
        "loss": trial.baseline or "+".join(trial.recipe.terms),
        "loss_family": trial.recipe.family,
        "baseline": trial.baseline or "",
    }
    if retry_of is not None:
        tags["retry_of"] = str(retry_of)
    tracker.start_trial(trial.number, {**trial.params, "loss": trial.recipe.label}, tags)


def close_run(tracker: Tracker, record: Record) -> None:
    """A trial has ended."""
    tags = {"state": record.outcome, **({"note": record.note} if record.note else {})}
    found = {f"best_{name}": value for name, value in record.values.items()}
    metrics = {"best_score": record.score, "duration_s": record.seconds, **found}
    tracker.end_trial(record.number, _STATUS[record.outcome], metrics, tags)


def close_ended(study: Study, tracker: Tracker) -> None:
    """Closes the runs of trials whose end the study was told and the tracker was not."""
    open_trials = set(tracker.open_trials())
    for record in study.records:
        if record.number in open_trials:
            close_run(tracker, record)


def log_final(tracker: Tracker, final: Final, step: int) -> None:
    """Puts a final training into the run of its trial: one step a seed."""
    if final.diverged:
        return
    means = {f"final_test_{name}": math.fsum(v) / len(v) for name, v in final.test.items()}
    tracker.log_epoch(final.trial, step, {"final_validation": final.validation, **means})
