"""The driver: who trains what, when the time is up, and what a second session need not repeat."""

import itertools

import numpy as np
import pytest
from kerasloss_search import files
from kerasloss_search.assignment import Assignment
from kerasloss_search.catalogue import Range
from kerasloss_search.driver import Driver, SearchError
from kerasloss_search.executor import Event
from kerasloss_search.jobs import KEPT_STEPS, Epoch, Final, Result
from kerasloss_search.records import Record
from kerasloss_search.space import Space
from kerasloss_search.study import Study
from kerasloss_search.tracking import NullTracker

# So narrow that the best plain loss is not tried with other learning rates.
SPACE = Space.of(
    ("dice", "focal", "lovasz", "hausdorff"), steps=20, learning_rate=Range(1.8e-3, 2.2e-3)
)


class Nobody:
    def __init__(self):
        self.done = []

    def started(self, proposal): ...

    def ended(self, record, best): ...

    def lost(self, number, reason): ...

    def finals(self, done, total):
        self.done.append((done, total))


class Pool:
    """Workers that finish when polled, in the order in which they were given work."""

    def __init__(self, workers=1, fails=0):
        self.workers, self.fails = workers, fails
        self.busy, self.history = {}, []

    def idle(self):
        return [worker for worker in range(self.workers) if worker not in self.busy]

    def submit(self, worker, task, call, arguments):
        self.busy[worker] = task, call, arguments
        self.history.append((worker, task, arguments))

    def answer(self, worker, go_on): ...

    def failing(self, task):
        self.fails -= 1
        return self.fails >= 0

    def poll(self, timeout_s):
        for worker, (task, call, arguments) in list(self.busy.items()):
            if call == "train":
                yield Event(worker, "epoch", task, Epoch(0, 0.5, 0.1, {"loss": 1.0, "dice": 0.5}))
                del self.busy[worker]
                yield Event(worker, "done", task, Result("complete", {"dice": 0.5}, 0, 1.0))
                continue
            del self.busy[worker]
            if self.failing(task):
                yield Event(worker, "failed", task, "out of memory")
                continue
            trial, _, seed, _ = arguments
            yield Event(worker, "done", task, Final(trial, seed, 0.6, {"dice": [0.5]}, [0.6], 1.0))


class Alternating(Pool):
    """Two workers that take turns to end: there is never more than one of them idle."""

    def __init__(self):
        super().__init__(workers=2)
        self._last = 1

    def poll(self, timeout_s):
        if len(self.busy) == 2 or 1 - self._last in self.busy:
            self._last = 1 - self._last
        mine = {self._last: self.busy[self._last]}
        others = {w: work for w, work in self.busy.items() if w != self._last}
        self.busy = mine
        yield from super().poll(timeout_s)
        self.busy |= others


@pytest.fixture
def made(tmp_path):
    def make(pool):
        study = Study(tmp_path, SPACE, identity={}, epochs=1, seed=0)
        return Driver(study, pool, NullTracker(), tmp_path, Nobody()), study

    return make


def plain(number, **changes):
    params = {**SPACE.baselines()["dice"], **changes}
    return Record(number, SPACE.decode(params), "dice", "complete", 0.5, 1.0, {"dice": 0.5})


def test_so_many_trials_and_their_logs(made, tmp_path):
    driver, study = made(Pool())
    driver.search(7)
    assert study.ended == 7
    assert files.read_json(files.logs_file(tmp_path, 0)) == {"loss": [1.0], "dice": [0.5]}
    driver.search(7)
    assert study.ended == 7


def test_no_trial_begins_after_the_time_is_up(made, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("kerasloss_search.driver.time.monotonic", lambda: now[0])
    pool = Pool()
    submit = pool.submit

    def slowly(*arguments):
        now[0] += 10.0
        submit(*arguments)

    pool.submit = slowly
    driver, study = made(pool)
    driver.search(100, time_s=35.0)
    assert study.ended == 4
    assert study.spent_s == pytest.approx(40.0)
    # A later session counts the time of the first.
    again, study = made(pool)
    again.search(100, time_s=35.0)
    assert study.ended == 4
    again.search(100, time_s=45.0)
    assert study.ended == 5


def test_the_next_trial_is_asked_for_while_one_trains(made):
    pool = Pool()
    driver, study = made(pool)
    running, poll = [], pool.poll

    def watched(timeout_s):
        running.append(len(study.running))
        yield from poll(timeout_s)

    pool.poll = watched
    driver.search(4)
    # The last one needs no successor.
    assert running == [2, 2, 2, 1]
    assert [task for _, task, _ in pool.history] == [0, 1, 2, 3]


def test_a_trial_that_was_asked_for_too_late_waits_for_another_session(made, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("kerasloss_search.driver.time.monotonic", lambda: now[0])
    pool = Pool()
    poll = pool.poll

    def slowly(timeout_s):
        now[0] += 10.0
        yield from poll(timeout_s)

    pool.poll = slowly
    driver, study = made(pool)
    baselines = len(SPACE.baselines())
    driver.search(100, time_s=5.0)
    assert study.ended == 1 and not study.running
    again, study = made(Pool())
    assert study.interrupted == []
    again.search(baselines)
    assert {record.baseline for record in study.records} == set(SPACE.baselines())
    assert study.ended == baselines


def test_a_trial_goes_to_the_worker_that_has_its_step(made):
    pool = Pool(workers=2)
    driver, study = made(pool)
    lovasz, hausdorff = {"use/lovasz": True}, {"use/hausdorff": True}
    base = SPACE.baselines()["dice"]
    while study.ended < 2:
        driver.search(2)
    del pool.history[:]
    for change in (lovasz, hausdorff, hausdorff, lovasz):
        study._study.enqueue_trial({**base, **change})
    driver.search(6)
    workers = {}
    for worker, _, (recipe,) in pool.history:
        workers.setdefault(SPACE.structure(recipe), set()).add(worker)
    assert all(len(some) == 1 for some in workers.values())
    assert len(workers) == 2


def queue(study, *structures):
    base = SPACE.baselines()["dice"]
    for names in structures:
        study._study.enqueue_trial({**base, **{f"use/{name}": True for name in names}})


def test_workers_that_end_in_turn_keep_to_their_steps(made):
    pool = Alternating()
    driver, study = made(pool)
    driver.search(2)
    del pool.history[:]
    turns = [("lovasz",), ("lovasz",), ("hausdorff",), ("hausdorff",)] * 4
    queue(study, *turns)
    driver.search(2 + len(turns))
    taken = [(worker, SPACE.structure(recipe)) for worker, _, (recipe,) in pool.history]
    assert len(taken) == len(turns)
    # Handed out in their order, nearly every trial would have to be compiled.
    assert len({worker for worker, _ in taken}) == 2
    changes = sum(
        a[1] != b[1]
        for w in (0, 1)
        for a, b in itertools.pairwise([one for one in taken if one[0] == w])
    )
    assert changes <= 4


def test_a_trial_that_fits_no_worker_is_not_passed_over_for_ever():
    assignment = Assignment(2)
    assignment.compiles(0, ("a",))
    assignment.compiles(1, ("a",))
    waiting = {0: ("b",), **{number: ("a",) for number in range(1, 9)}}
    order = []
    for turn in range(4):
        ((worker, task),) = assignment.deal([turn % 2], waiting)
        assert worker == turn % 2
        del waiting[task]
        order.append(task)
    assert order == [1, 2, 0, 3]


def test_no_worker_takes_the_trial_of_another():
    assignment = Assignment(2)
    assignment.compiles(1, ("a",))
    assert assignment.deal([0, 1], {5: ("a",), 6: ("b",)}) == [(1, 5), (0, 6)]


def test_a_worker_forgets_steps_as_the_driver_thinks():
    assignment = Assignment(2)
    for number in range(KEPT_STEPS + 1):
        assignment.compiles(0, (f"{number}",))
    assert assignment.fitting(0, [("0",), ("1",)]) == 1
    assert assignment.fitting(0, [("0",), (f"{KEPT_STEPS}",)]) == 1
    assignment.forget(0)
    assert assignment.fitting(0, [("0",), ("1",)]) == 0


def test_a_worker_that_failed_has_no_steps(made):
    pool = Pool(workers=2)
    driver, study = made(pool)
    driver.search(2)
    driver._handle(Event(0, "lost", None, ""))
    assert driver._assignment.fitting(0, [("b",), SPACE.structure(study.records[0].recipe)]) == 0
    assert driver._assignment.fitting(1, [("b",), SPACE.structure(study.records[0].recipe)]) == 1
    number = study.ask().number
    driver._handle(Event(1, "failed", number, "no memory"))
    assert driver._assignment.fitting(1, [("b",), SPACE.structure(study.records[0].recipe)]) == 0


class Told(NullTracker):
    """Keeps what it is told of the ends of trials."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def _append(self, kind, key, data, *, sync=False):
        self._remember(kind, key, data)
        if kind == "end":
            self.ends.append((data["number"], data["status"], data["tags"]))


def test_a_trial_that_has_just_ended_is_closed_when_the_search_is_stopped(made, monkeypatch):
    driver, study = made(Pool())
    driver._tracker = tracker = Told()

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kerasloss_search.driver.close_run", stop)
        with pytest.raises(KeyboardInterrupt):
            driver.search(3)
    assert study.ended == 1 and tracker.open_trials() == [0]
    # The next one is asked for and not begun.
    assert driver.abandon() == [1]
    assert tracker.open_trials() == []
    assert tracker.ends == [(0, "FINISHED", {"state": "complete"})]


def test_the_third_loss_of_a_worker_is_a_failure_with_its_reason(made, tmp_path):
    class Dies(Pool):
        def poll(self, timeout_s):
            for worker, (task, *_) in list(self.busy.items()):
                if task in lost:
                    yield Event(worker, "epoch", task, Epoch(0, 0.5, 0.1, {"loss": 0.5}))
                    del self.busy[worker]
                    yield Event(worker, "lost", task, "killed")
                else:
                    yield from super().poll(timeout_s)

    driver, study = made(Dies())
    driver._tracker = tracker = Told()
    lost = set()
    driver.search(1)
    lost.update(range(1, 99))
    driver.search(2)
    told = {number: (status, tags) for number, status, tags in tracker.ends}
    states = [tags["state"] for _, tags in told.values()]
    (failed,) = [record.number for record in study.records if record.outcome == "failed"]
    assert states.count("worker lost") >= 2
    status, tags = told[failed]
    assert (status, tags["state"], tags["note"]) == ("FAILED", "failed", "killed")
    assert files.read_json(files.logs_file(tmp_path, failed)) == {"loss": [0.5]}


def test_final_trainings_are_done_once(made, tmp_path):
    pool = Pool()
    driver, _ = made(pool)
    records = [plain(0), plain(3, **{"use/lovasz": True})]
    found = driver.finals(records, [1000, 1001]).finals
    assert [[final.seed for final in found[n]] for n in (0, 3)] == [[1000, 1001]] * 2
    assert len(pool.history) == 4
    assert driver._progress.done[0] == (0, 4) and driver._progress.done[-1] == (4, 4)
    # Another session, with one seed more.
    again, _ = made(Pool())
    more = again.finals(records, [1000, 1001, 1002]).finals
    assert [task for _, task, _ in again._executor.history] == [(0, 1002), (3, 1002)]
    assert more[0][:2] == found[0]


def test_a_final_training_of_another_loss_with_this_number_is_not_taken_for_it(made):
    """An older study.db was restored, or none was left: its numbers are given anew."""
    driver, _ = made(Pool())
    driver.finals([plain(5)], [1000])
    other = plain(5, learning_rate=1e-3)
    again, _ = made(Pool())
    found = again.finals([other], [1000]).finals
    assert [task for _, task, _ in again._executor.history] == [(5, 1000)]
    assert found[5][0].recipe == other.recipe.fingerprint != plain(5).recipe.fingerprint
    last, _ = made(Pool())
    assert last.finals([other], [1000]).finals == found
    assert last._executor.history == []


def test_final_trainings_of_one_structure_follow_each_other(made):
    pool = Pool()
    driver, _ = made(pool)
    driver.finals([plain(0), plain(3, **{"use/lovasz": True}), plain(4)], [1, 2])
    order = [SPACE.structure(arguments[1]) for _, _, arguments in pool.history]
    assert len(set(order)) == 2
    changes = sum(a != b for a, b in zip(order, order[1:], strict=False))
    assert changes == 1


def test_a_final_training_that_fails_is_tried_once_more(made):
    driver, _ = made(Pool(fails=1))
    assert len(driver.finals([plain(0)], [1]).finals[0]) == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_a_loss_whose_final_training_fails_twice_is_left_out(made, workers):
    class Fails(Pool):
        def failing(self, task):
            return task == (0, 1)

    driver, _ = made(Fails(workers))
    found = driver.finals([plain(0), plain(3)], [1, 2])
    assert found.failed == {0: "training with seed 1 failed twice (out of memory)"}
    assert list(found.finals) == [3] and len(found.finals[3]) == 2


def test_final_trainings_that_all_fail_end_the_search_with_a_line(made):
    driver, _ = made(Pool(fails=4))
    with pytest.raises(SearchError, match="dice: .* failed twice .out of memory.*no other loss"):
        driver.finals([plain(0), plain(3)], [1])


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        files.write_json(path, {"a": np.float64})
    assert files.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    assert files.read_json(tmp_path / "none.json") is None
