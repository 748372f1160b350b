"""The study: baselines first, nothing lost, nothing repeated, families kept apart."""

import math
import sqlite3
from contextlib import closing

import optuna
import pytest
from kerasloss_search.catalogue import Range
from kerasloss_search.space import Space
from kerasloss_search.study import Study, StudyError

IDENTITY = {"data": "abc", "epochs": 6}


def open_study(folder, *, space=None, identity=IDENTITY, epochs=6, seed=0, **more):
    space = space or Space(steps=60)
    return Study(folder, space, identity=identity, epochs=epochs, seed=seed, **more)


def finish(study, score=0.5, outcome="complete"):
    proposal = study.ask()
    study.report(proposal.number, 0, score, 0.1)
    return study.tell(proposal.number, outcome, {"dice": score}, 1.0)


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
    for _ in range(7):
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
        study.tell(proposal.number, "complete", {"dice": 0.6}, 1.0)
    monkeypatch.undo()
    again = open_study(tmp_path)
    assert again.interrupted == []
    assert [(r.number, r.outcome, r.score) for r in again.records] == [(0, "complete", 0.6)]


def test_no_plain_loss_is_lost_when_a_kill_comes_while_they_are_queued(tmp_path, monkeypatch):
    enqueue, calls = optuna.Study.enqueue_trial, []

    def deadly(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        enqueue(*arguments, **options)

    monkeypatch.setattr(optuna.Study, "enqueue_trial", deadly)
    with pytest.raises(KeyboardInterrupt):
        open_study(tmp_path)
    monkeypatch.undo()
    study = open_study(tmp_path)
    names = [study.ask().baseline for _ in range(6)]
    assert names == [*Space().baselines(), None]


def test_a_trial_whose_worker_dies_again_and_again_fails(tmp_path):
    study = open_study(tmp_path)
    for _ in range(7):
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
        open_study(tmp_path, space=Space.of(("dice", "focal")))


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
            study.tell(proposal.number, reason, {"dice": max(scores)}, 1.0)
            return reason, epoch
    study.tell(proposal.number, "complete", {"dice": max(scores)}, 1.0)
    return "complete", len(scores) - 1


def after_baselines(tmp_path, space=None):
    study = open_study(tmp_path, space=space)
    for _ in study.space.baselines():
        study.tell(study.ask().number, "failed", {}, 1.0)
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


def test_sums_of_different_families_are_not_compared(tmp_path):
    study = after_baselines(tmp_path, Space.of(("cross_entropy", "dice", "boundary"), steps=60))
    for _ in range(4):
        curve(study, ["dice", "cross_entropy"], [0.6] * 6)
    assert curve(study, ["dice", "boundary"], [0.1] * 6) == ("complete", 5)
    assert curve(study, ["dice", "cross_entropy"], [0.1] * 6) == ("pruned", 1)


def test_baselines_are_never_pruned(tmp_path):
    study = open_study(tmp_path)
    for _ in range(5):
        proposal = study.ask()
        for epoch in range(6):
            assert study.report(proposal.number, epoch, 0.0, 0.0) is None
        study.tell(proposal.number, "complete", {"dice": 0.0}, 1.0)


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


def test_a_score_where_less_is_better(tmp_path):
    study = open_study(tmp_path, scores=["hd95"])
    for value in (9.0, 3.0, 5.0):
        proposal = study.ask()
        study.report(proposal.number, 0, value, 0.1)
        study.tell(proposal.number, "complete", {"hd95": value}, 1.0)
    assert study.best.score == 3.0
    assert study.merit(study.best) == -3.0


def test_pruning_with_a_score_where_less_is_better(tmp_path):
    study = open_study(tmp_path, scores=["hd95"])
    for _ in range(5):
        study.tell(study.ask().number, "failed", {}, 1.0)

    def outcome(value):
        proposal = searched(study, ["dice"])
        for epoch in range(6):
            if reason := study.report(proposal.number, epoch, value, 0.1):
                study.tell(proposal.number, reason, {"hd95": value}, 1.0)
                return reason
        study.tell(proposal.number, "complete", {"hd95": value}, 1.0)
        return "complete"

    assert [outcome(value) for value in (5.0, 6.0, 7.0, 8.0)] == ["complete"] * 4
    assert outcome(9.0) == "pruned"
    assert outcome(2.0) == "complete"


def test_without_pruning_nothing_falls_behind(tmp_path):
    study = open_study(tmp_path, pruning=False)
    for _ in range(5):
        study.tell(study.ask().number, "failed", {}, 1.0)
    for _ in range(4):
        curve(study, ["dice"], [0.6] * 6)
    assert curve(study, ["dice"], [0.1] * 6) == ("complete", 5)


def test_several_scores_have_a_front(tmp_path):
    study = open_study(tmp_path, scores=["dice", "hd95"])
    for dice, hd95 in ((0.9, 9.0), (0.8, 3.0), (0.7, 5.0), (0.95, 9.5), (0.6, 2.0)):
        proposal = study.ask()
        study.report(proposal.number, 0, dice, 0.1)
        study.tell(proposal.number, "complete", {"dice": dice, "hd95": hd95}, 1.0)
    again = open_study(tmp_path, scores=["dice", "hd95"])
    assert again.pareto == [0, 1, 3, 4]
    assert again.best.number == 3
    assert again.records[1].values == {"dice": 0.8, "hd95": 3.0}
    assert again.records[1].curve == [0.8]
    with pytest.raises(StudyError, match="scores"):
        open_study(tmp_path, scores=["dice"])


def test_candidates_are_the_best_searched_losses(tmp_path):
    study = open_study(tmp_path)
    for score in (0.9, 0.1, 0.1, 0.1, 0.1, 0.2, 0.2, 0.4, 0.8, 0.6):
        finish(study, score)
    assert [record.number for record in study.candidates(2)] == [8, 9]
    assert len(study.candidates(9)) == 3


def test_the_best_plain_loss_is_tried_with_other_learning_rates(tmp_path):
    """A searched loss chooses its own; the plain one must not lose for want of that."""
    study = open_study(tmp_path, space=Space.of(("dice", "focal")))
    finish(study, 0.6)
    finish(study, 0.5)
    study = open_study(tmp_path, space=Space.of(("dice", "focal")))
    tried = [finish(study, score) for score in (0.65, 0.55)]
    assert [record.baseline for record in tried] == ["dice, rate 7.2e-04", "dice, rate 4.2e-03"]
    assert [record.params["learning_rate"] for record in tried] == pytest.approx(
        [3e-4 * (100 / 3) ** 0.25, 3e-4 * (100 / 3) ** 0.75]
    )
    assert finish(study).baseline is None
    # Each plain loss stands for itself in the end, with the rate that did best for it.
    assert [r.baseline for r in study.plain()] == ["dice, rate 7.2e-04", "focal"]


def test_a_plain_loss_that_the_sampler_draws_is_plain(tmp_path):
    space = Space.of(("dice", "cross_entropy"), auxiliary=None)
    study = open_study(tmp_path, space=space)
    drawn = None
    while drawn is None or drawn.baseline is not None or drawn.recipe.terms != ("dice",):
        proposal = study.ask()
        alone = proposal.baseline is None and proposal.recipe.terms == ("dice",)
        drawn = study.tell(proposal.number, "complete", {"dice": 0.9 if alone else 0.1}, 1.0)
    assert drawn.number not in [record.number for record in study.candidates(99)]
    (found,) = [record for record in study.plain() if record.number == drawn.number]
    assert found.baseline == f"dice, rate {drawn.recipe.learning_rate:.1e}"
    assert len(study.plain()) == 3


def test_with_several_scores_no_trial_is_stopped_for_the_first(tmp_path):
    study = open_study(tmp_path, scores=["dice", "hd95"])
    for _ in range(9):
        proposal = study.ask()
        for epoch in range(4):
            assert study.report(proposal.number, epoch, 0.9 - 0.1 * proposal.number, 0.1) is None
        study.tell(proposal.number, "complete", {"dice": 0.5, "hd95": 3.0}, 1.0)


def test_a_score_that_is_not_finite_fails_its_trial(tmp_path):
    study = open_study(tmp_path)
    record = finish(study, math.inf)
    assert (record.outcome, record.values) == ("failed", {})
    assert "inf" in record.note


def test_time_adds_up_over_sessions(tmp_path):
    open_study(tmp_path).spend(2.5)
    study = open_study(tmp_path)
    study.spend(1.0)
    assert study.spent_s == 3.5


def test_importance_names_what_mattered_and_nothing_else(tmp_path):
    study = open_study(tmp_path, space=Space.of(("dice", "focal"), auxiliary=None))
    assert study.importance() == {}
    for _ in range(40):
        proposal = study.ask()
        study.report(proposal.number, 0, 0.5, 0.1)
        rate = proposal.params["learning_rate"]
        study.tell(proposal.number, "complete", {"dice": 1.0 - abs(rate - 2e-3) * 50}, 1.0)
    found = study.importance()
    assert max(found, key=found.get) == "learning_rate"
    assert found["learning_rate"] > 0.5


@pytest.mark.parametrize("used", [True, False])
def test_what_a_trial_does_not_use_explains_nothing(tmp_path, used):
    """A parameter of a loss that is left out follows the score as if it were its cause."""
    space = Space.of(("dice", "focal"), {"focal": {"gamma": Range(1.0, 4.0)}}, auxiliary=None)
    study = open_study(tmp_path, space=space)
    for _ in range(40):
        proposal = study.ask()
        uses = "focal" in proposal.recipe.terms
        score = proposal.params["focal/gamma"] / 5 if uses == used else 0.5
        study.tell(proposal.number, "complete", {"dice": score}, 1.0)
    assert ("focal/gamma" in study.importance()) == used


def test_importance_where_the_plain_losses_lie_outside_of_the_search(tmp_path):
    space = Space.of(("dice", "focal"), {"focal": {"gamma": Range(3.0, 4.0)}}, auxiliary=None)
    study = open_study(tmp_path, space=space)
    for _ in range(30):
        proposal = study.ask()
        score = 0.2 if proposal.baseline else proposal.params["focal/gamma"] - 3.0
        study.tell(proposal.number, "complete", {"dice": score}, 1.0)
    assert "focal/gamma" in study.importance()


def test_a_plain_loss_that_failed_has_another_try_in_another_session(tmp_path):
    for session in range(4):
        study = open_study(tmp_path, space=Space.of(("dice", "focal")))
        names = []
        for _ in range(2 if session else 3):
            proposal = study.ask()
            names.append(proposal.baseline)
            fails = proposal.baseline == "focal"
            values = {} if fails else {"dice": 0.5}
            study.tell(proposal.number, "failed" if fails else "complete", values, 1.0)
        tried = {
            0: ["dice", "focal", "dice, rate 7.2e-04"],
            1: ["dice, rate 4.2e-03", "focal"],
            2: ["focal", None],
            3: [None, None],
        }
        assert names == tried[session]


def test_a_plain_loss_that_was_interrupted_and_then_failed_has_another_try(tmp_path):
    space = Space.of(("dice", "focal"))
    study = open_study(tmp_path, space=space)
    assert study.ask().baseline == "dice"
    # The process dies here.
    for fails in (True, True, False):
        study = open_study(tmp_path, space=space)
        names = []
        for _ in range(4):
            proposal = study.ask()
            names.append(proposal.baseline)
            failed = fails and proposal.baseline == "dice"
            values = {} if failed else {"dice": 0.5}
            study.tell(proposal.number, "failed" if failed else "complete", values, 1.0)
        assert "dice" in names
    study = open_study(tmp_path, space=space)
    assert [study.ask().baseline for _ in range(2)] == [None, None]


def test_a_plain_loss_that_waits_is_not_queued_twice(tmp_path):
    space = Space.of(("dice", "focal"))
    for _ in range(3):
        study = open_study(tmp_path, space=space)
        assert study.ask().baseline in ("dice", "focal")
        # The process dies here.
    study = open_study(tmp_path, space=space)
    assert sorted(str(study.ask().baseline) for _ in range(3)) == ["None", "dice", "focal"]


def test_a_database_of_another_version_of_optuna_is_refused_in_a_line(tmp_path):
    finish(open_study(tmp_path))
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
        (stored,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.execute("UPDATE alembic_version SET version_num = 'v9.0.0'")
    with pytest.raises(StudyError, match="study.db is of another version of Optuna") as found:
        open_study(tmp_path)
    assert "\n" not in str(found.value)
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [stored])
    assert open_study(tmp_path).ended == 1


def test_a_plain_loss_stays_what_it_is_in_a_space_that_looks_elsewhere(tmp_path):
    space = Space.of(("dice", "focal"), {"focal": {"gamma": Range(3.0, 4.0)}}, steps=60)
    study = open_study(tmp_path, space=space)
    assert study.ask().baseline == "dice"
    plain = study.ask()
    assert (plain.baseline, plain.recipe.options["focal"]["gamma"]) == ("focal", 2.0)
    study.tell(plain.number, "complete", {"dice": 0.5}, 1.0)
    for _ in range(10):
        finish(study)
    assert all(r.params["focal/gamma"] >= 3.0 for r in study.records if r.number > 1)
    assert open_study(tmp_path, space=space).records == study.records
