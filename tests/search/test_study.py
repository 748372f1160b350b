"""The study: baselines first, nothing lost, nothing repeated, families kept apart."""

import math

import optuna
import pytest
from kerasloss_search.space import Space
from kerasloss_search.study import Study, StudyError

IDENTITY = {"data": "abc", "epochs": 6}


def open_study(folder, *, space=None, identity=IDENTITY, epochs=6, seed=0):
    return Study(folder, space or Space(steps=60), identity=identity, epochs=epochs, seed=seed)


def finish(study, score=0.5, outcome="complete"):
    proposal = study.ask()
    study.report(proposal.number, 0, score, 0.1)
    return study.tell(proposal.number, outcome, score, 1.0)


def test_the_plain_losses_come_first(tmp_path):
    study = open_study(tmp_path)
    names = [study.ask().baseline for _ in range(6)]
    assert names == [*Space().baselines(), None]


def test_records_and_best(tmp_path):
    study = open_study(tmp_path)
    for score in (0.2, 0.7, 0.4):
        finish(study, score)
    finish(study, 0.9, outcome="pruned")
    assert [record.score for record in study.records] == [0.2, 0.7, 0.4, 0.9]
    assert study.best.score == 0.7
    assert study.best.baseline == "cross-entropy"
    assert study.records[0].curve == [0.2]


@pytest.mark.parametrize("outcome", ["pruned", "collapsed", "diverged", "failed"])
def test_every_outcome_is_kept(tmp_path, outcome):
    study = open_study(tmp_path)
    finish(study, math.nan if outcome == "diverged" else 0.1, outcome)
    again = open_study(tmp_path)
    assert [record.outcome for record in again.records] == [outcome]
    assert again.best is None


def test_going_on_repeats_what_was_under_way_and_nothing_else(tmp_path):
    study = open_study(tmp_path)
    finish(study, 0.3)
    lost = [study.ask(), study.ask()]
    # The process dies here.
    again = open_study(tmp_path)
    assert again.interrupted == [proposal.number for proposal in lost]
    assert [record.score for record in again.records] == [0.3]
    # The rest of the queue is older than the repeats.
    proposals = [again.ask() for _ in range(4)]
    assert [p.baseline for p in proposals] == ["IoU", "focal", "cross-entropy", "dice"]
    assert [p.retry_of for p in proposals] == [None, None, *again.interrupted]
    assert proposals[2].params == lost[0].params


def test_a_searched_trial_is_repeated_with_its_parameters(tmp_path):
    study = open_study(tmp_path)
    for _ in range(5):
        finish(study)
    lost = study.ask()
    again = open_study(tmp_path)
    repeated = again.ask()
    assert repeated.params == lost.params
    assert repeated.retry_of == lost.number
    assert repeated.baseline is None


def test_a_trial_killed_while_its_end_was_written_is_finished_not_repeated(tmp_path, monkeypatch):
    study = open_study(tmp_path)
    proposal = study.ask()
    study.report(proposal.number, 0, 0.6, 0.1)
    monkeypatch.setattr(Study, "_close", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        study.tell(proposal.number, "complete", 0.6, 1.0)
    monkeypatch.undo()
    again = open_study(tmp_path)
    assert again.interrupted == []
    assert [(r.number, r.outcome, r.score) for r in again.records] == [(0, "complete", 0.6)]


def test_a_trial_whose_worker_dies_again_and_again_fails(tmp_path):
    study = open_study(tmp_path)
    for _ in range(5):
        finish(study)
    first = study.ask()
    assert study.interrupt(first.number, "killed") is None
    second = study.ask()
    assert second.params == first.params
    assert study.interrupt(second.number, "killed") is None
    third = study.ask()
    record = study.interrupt(third.number, "killed")
    assert record.outcome == "failed"
    assert record.note == "killed"
    assert study.ask().params != first.params


@pytest.mark.parametrize(
    ("change", "word"),
    [({"data": "other"}, "data"), ({"epochs": 7}, "epochs")],
)
def test_another_kind_of_study_is_refused(tmp_path, change, word):
    open_study(tmp_path)
    with pytest.raises(StudyError, match=f"{word}.*--output"):
        open_study(tmp_path, identity={**IDENTITY, **change})


def test_another_space_is_refused(tmp_path):
    open_study(tmp_path)
    with pytest.raises(StudyError, match="space"):
        open_study(tmp_path, space=Space(terms=("dice", "focal")))


def test_one_seed_gives_one_search(tmp_path):
    def proposals(name, seed):
        folder = tmp_path / name
        folder.mkdir()
        study = open_study(folder, seed=seed)
        for _ in range(5):
            finish(study)
        return [finish(study) and study.records[-1].recipe for _ in range(3)]

    assert proposals("a", 1) == proposals("b", 1)
    assert proposals("c", 2) != proposals("d", 1)


def searched(study, terms):
    """A proposal that uses just these terms."""
    params = dict(study.space.baselines()["dice"])
    for term in study.space.terms:
        params[f"use/{term}"] = term in terms
    study._study.enqueue_trial(params)
    return study.ask()


def curve(study, terms, scores):
    proposal = searched(study, terms)
    for epoch, score in enumerate(scores):
        if reason := study.report(proposal.number, epoch, score, 0.1):
            study.tell(proposal.number, reason, max(scores), 1.0)
            return reason, epoch
    study.tell(proposal.number, "complete", max(scores), 1.0)
    return "complete", len(scores) - 1


def after_baselines(tmp_path):
    study = open_study(tmp_path)
    for _ in range(5):
        study.tell(study.ask().number, "failed", math.nan, 1.0)
    return study


def test_pruning_keeps_a_family_that_starts_slowly_and_ends_high(tmp_path):
    study = after_baselines(tmp_path)
    for _ in range(4):
        assert curve(study, ["cross_entropy"], [0.5, 0.55, 0.6, 0.6, 0.6, 0.6])[0] == "complete"
    for _ in range(5):
        assert curve(study, ["dice"], [0.0, 0.05, 0.1, 0.4, 0.8, 0.9])[0] == "complete"
    assert study.best.recipe.terms == ("dice",)


def test_pruning_stops_a_trial_that_falls_behind_its_own_family(tmp_path):
    study = after_baselines(tmp_path)
    for score in (0.6, 0.62, 0.64):
        curve(study, ["cross_entropy"], [score] * 6)
        # Three peers are too few to judge by.
        assert curve(study, ["dice"], [0.1] * 6)[0] == "complete"
    curve(study, ["focal"], [0.61] * 6)
    # Never in the first third of the epochs.
    assert curve(study, ["cross_entropy"], [0.1] * 6) == ("pruned", 1)


def test_baselines_are_never_pruned(tmp_path):
    study = open_study(tmp_path)
    for _ in range(5):
        proposal = study.ask()
        for epoch in range(6):
            assert study.report(proposal.number, epoch, 0.0, 0.0) is None
        study.tell(proposal.number, "complete", 0.0, 1.0)


def test_a_trial_that_predicts_nothing_is_stopped_half_way(tmp_path):
    study = after_baselines(tmp_path)
    proposal = searched(study, ["dice"])
    assert study.report(proposal.number, 0, 0.0, 0.0) is None
    assert study.report(proposal.number, 1, 0.0, 0.0) is None
    assert study.report(proposal.number, 2, 0.0, 0.0) == "collapsed"


def test_the_states_in_the_database_say_the_same(tmp_path):
    study = open_study(tmp_path)
    for outcome in ("complete", "pruned", "failed"):
        finish(study, 0.4, outcome)
    stored = optuna.load_study(study_name="kerasloss", storage=f"sqlite:///{tmp_path}/study.db")
    states = [trial.state.name for trial in stored.trials[:3]]
    assert states == ["COMPLETE", "PRUNED", "FAIL"]
