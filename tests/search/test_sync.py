"""A server that is away, goes away or is slow costs nothing, and `sync` delivers the rest, once."""

import shutil
import sqlite3
import time
from contextlib import closing

import pytest
from kerasloss_search import cli, sync
from kerasloss_search.lock import locked
from kerasloss_search.tracking import Tracker, store_uri
from mlflow_server import serving
from tracking_study import EPOCHS, TRIALS, assert_played, new, play, rows, wait_until

EVENTS = 1 + 2 + TRIALS * (3 + EPOCHS)

# Those of MLflow's server, which runs in a thread of this process.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def far(template, tmp_path):
    """A server with a database of its own, not started yet."""
    folder = tmp_path / "far"
    folder.mkdir()
    shutil.copy(template, folder)
    with serving(folder) as server:
        server.folder = folder
        yield server


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(sync, "_PATIENCE_S", 1.5)


class Timed:
    """A tracker that knows how long its slowest call took."""

    def __init__(self, tracker):
        self._tracker, self.slowest_s = tracker, 0.0

    def __getattr__(self, name):
        method = getattr(self._tracker, name)

        def timed(*arguments):
            start = time.perf_counter()
            result = method(*arguments)
            self.slowest_s = max(self.slowest_s, time.perf_counter() - start)
            return result

        return timed


def run_sync(capsys, *arguments):
    code = cli.main(["sync", *(str(argument) for argument in arguments)])
    output, error = capsys.readouterr()
    assert "Traceback" not in error
    return code, output, error


def test_a_server_away_at_the_start_gets_everything_by_sync(tmp_path, far, capsys, impatient):
    folder = tmp_path / "my search"
    tracker = new(folder, far.uri)
    timed = Timed(tracker)
    play(timed, folder)
    assert timed.slowest_s < 1
    tracker.close(0.1)

    code, _, error = run_sync(capsys, "--output", folder)
    assert code == 2
    assert error.count("\n") == 1
    for word in (far.uri, f"{EVENTS} events are kept", "kerasloss-search sync --output"):
        assert word in error

    far.start()
    # Where the search sent its record is known.
    code, output, _ = run_sync(capsys, "--output", folder)
    assert (code, f"Delivered {EVENTS} events." in output) == (0, True)
    assert_played(folder, far.uri)
    asked = far.asked
    assert run_sync(capsys, "--output", folder)[1] == "Delivered 0 events.\n"
    assert far.asked == asked
    assert rows(far.folder) == TRIALS * (2 * EPOCHS + 1) + 1


def test_a_server_that_goes_away_and_comes_back_misses_nothing(tmp_path, far):
    folder = tmp_path / "my search"
    far.start()
    tracker = new(folder, far.uri)
    tracker._courier._longest_delay_s = 0.5
    tracker.start_study({"trials": TRIALS, "score": "dice"}, {"data": "toy"})
    wait_until(lambda: tracker.pending == 0)
    far.stop()
    timed = Timed(tracker)
    tracker.start_study = lambda *arguments: None  # `play` would start a second session
    play(timed, folder)
    assert timed.slowest_s < 1
    wait_until(lambda: tracker.error is not None)
    left = tracker.pending
    assert left == EVENTS - 2
    far.start()
    wait_until(lambda: tracker.pending < left)
    far.stop()  # And away again, in the middle.
    time.sleep(0.5)
    far.start()
    assert tracker.close(60) == 0
    assert_played(folder, far.uri)
    assert rows(far.folder) == TRIALS * (2 * EPOCHS + 1) + 1


def test_a_slow_server_holds_nothing_up(tmp_path, far):
    folder = tmp_path / "my search"
    far.start()
    far.delay_s = 3.0
    tracker = new(folder, far.uri)
    timed = Timed(tracker)
    start = time.perf_counter()
    play(timed, folder)
    assert timed.slowest_s < 1
    assert time.perf_counter() - start < 3
    wait_until(lambda: far.asked > 0)
    start = time.perf_counter()
    assert tracker.close(0.1) > 0
    assert time.perf_counter() - start < 2
    far.delay_s = 0.0


def test_a_locked_database_of_mlflow_is_waited_for(folder):
    """Nothing is given up: a viewer may keep a database locked for a whole day."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as viewer:
        viewer.execute("BEGIN EXCLUSIVE")
        tracker = new(folder, f"{store_uri(folder)}?timeout=0.1")
        tracker._courier._first_delay_s = tracker._courier._longest_delay_s = 0.05
        tracker._courier._patience = 2
        timed = Timed(tracker)
        play(timed, folder)
        assert timed.slowest_s < 1
        wait_until(lambda: "locked" in (tracker.error or ""), seconds=60)
        # More attempts than those after which other problems are given up.
        time.sleep(1.0)
        assert tracker.pending == EVENTS
    assert tracker.close(60) == 0
    assert tracker.error is None
    assert_played(folder)


def test_another_store_gets_the_whole_history(folder, template, tmp_path, capsys):
    tracker = new(folder)
    play(tracker, folder)
    assert tracker.close(60) == 0
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(template, other)
    uri = f"sqlite:///{other}/mlflow.db"
    code, output, _ = run_sync(capsys, "--output", folder, "--tracking-uri", uri)
    assert (code, f"Delivered {EVENTS} events." in output) == (0, True)
    assert_played(folder, uri)


def test_sync_needs_a_record(tmp_path, capsys):
    code, _, error = run_sync(capsys, "--output", tmp_path / "none")
    assert code == 2
    assert "no record of a search" in error
    assert not (tmp_path / "none").exists()


def test_sync_never_runs_beside_a_search(folder, capsys):
    new(folder).close(60)
    with locked(folder):
        code, _, error = run_sync(capsys, "--output", folder)
    assert code == 2
    assert "another search is running" in error


def test_a_password_is_not_stored_and_asked_for(folder, capsys, dead_uri):
    uri = dead_uri.replace("http://", "http://me:secret@")
    tracker = new(folder, uri)
    tracker.start_study({}, {})
    tracker.close(0.1)
    assert not any(b"secret" in file.read_bytes() for file in folder.glob("outbox.*"))
    code, _, error = run_sync(capsys, "--output", folder)
    assert code == 2
    assert "--tracking-uri" in error and "***@" in error and "secret" not in error


def test_an_event_that_is_refused_for_good_is_told(folder, capsys, dead_uri, monkeypatch):
    def waiting(*arguments, **options):
        tracker = Tracker(*arguments, **options)
        end = time.monotonic() + 30
        while tracker.pending and time.monotonic() < end:
            time.sleep(0.01)
        return tracker

    tracker = new(folder)
    tracker.start_study({}, {})
    assert tracker.close(60) == 0
    tracker = new(folder, dead_uri)
    (folder / "a.txt").write_text("a")
    tracker.log_artifact(None, folder / "a.txt")
    tracker.close(0.1)
    (folder / "a.txt").unlink()
    # However soon it is skipped: before anyone has counted what there is to deliver, too.
    monkeypatch.setattr(sync, "Tracker", waiting)
    code, output, error = run_sync(capsys, "--output", folder)
    assert code == 2
    assert "Delivered 0 events." in output
    assert "1 event refused for good" in error


def test_a_journal_cannot_have_other_files_sent(folder, tmp_path, capsys):
    """It is read from disk, and may be somebody else's."""
    (tmp_path / "secret.txt").write_text("secret")
    tracker = new(folder)
    tracker.start_study({}, {})
    with pytest.raises(ValueError, match="must lie in"):
        tracker.log_artifact(None, tmp_path / "secret.txt")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    for place in ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt"):
        data = {"number": None, "path": place, "folder": ""}
        tracker._append("artifact", f"artifact/{place}", data)
    tracker._append("connect", "no such kind", {})
    assert tracker.close(60) == 0
    assert len((folder / "outbox.skipped.jsonl").read_text().splitlines()) == 4
    assert not list(folder.glob("mlartifacts/**/*.txt"))
