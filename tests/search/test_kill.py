"""`kill -9` at random moments of a search, and the same command again.

`KERASLOSS_KILLS=50` kills a real search so often; `KERASLOSS_KILL_SEED` draws other moments.

Run as a script, this file is the victim of the many kills: one process that has imported everything
and forks a search without training a line of its input, because the imports cost seconds.
"""

import contextlib
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest
from kerasloss_search.synthetic import write_micrographs
from tracking_study import SEARCH
from wreck import assert_complete, assert_nothing_lost_or_repeated, assert_sound, ended

KILLS = int(os.environ.get("KERASLOSS_KILLS", "1"))
STUB_KILLS = int(os.environ.get("KERASLOSS_STUB_KILLS", "12"))
SEED = int(os.environ.get("KERASLOSS_KILL_SEED", "0"))
# Few enough that some kills meet the end of a study, where files are written, and not most of them.
TRIALS, STUB_TRIALS = max(8, KILLS // 2), max(8, STUB_KILLS // 3)
PATIENCE_S = 400

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


def environment():
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(SEARCH), str(SEARCH.parent)]),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def start(folder):
    """The real command."""
    # Where the tests run in the background, Ctrl-C is ignored, and so by all that they start.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "kerasloss_search", "demo", "--output", str(folder)),
                *("--images", "12", "--size", "32", "--width", "2", "--depth", "1"),
                *("--epochs", "2", "--terms", "dice,cross_entropy", "--trials", str(TRIALS)),
                *("--final-top", "1", "--final-seeds", "1", "--backend", "torch"),
            ],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, former)


class Victims:
    """The process described at the top, and the searches that it forks."""

    def __init__(self, pictures, template):
        self._template = template
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, str(pictures)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._pipe = self._process.stdout
        assert self._pipe.readline() == "ready\n"

    def start(self, folder):
        if not (folder / "mlflow.db").exists():
            shutil.copy(self._template, folder)  # making one takes longer than the search
        self.returncode, self._printed = None, f"{folder}.txt"
        print(folder, file=self._process.stdin, flush=True)
        self.pid = int(self._pipe.readline())
        return self

    def poll(self):
        if self.returncode is None and select.select([self._pipe], [], [], 0)[0]:
            self.returncode = int(self._pipe.readline())
        return self.returncode

    def wait(self, timeout):
        if self.poll() is None:
            assert select.select([self._pipe], [], [], timeout)[0]
        return self.poll()

    def communicate(self, timeout):
        self.wait(timeout)
        with open(self._printed) as file:
            return file.read(), None

    def close(self):
        self._process.stdin.close()
        assert self._process.wait(30) == 0
        self._pipe.close()


def events(folder):
    journal = folder / "outbox.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def wait_for(process, condition, every_s=0.002):
    """Waits until the condition holds; returns whether the process is still alive."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end
        time.sleep(every_s)
    return process.poll() is None


def wait_for_a_moment(process, folder, rng, start_s, delay_s):
    """Three of four moments are between two things that happen, so that they fit any machine."""
    if rng.random() < 0.25:
        until = time.monotonic() + rng.uniform(0, start_s)
        return wait_for(process, lambda: time.monotonic() >= until)
    enough = events(folder) + rng.randint(1, 12)
    if not wait_for(process, lambda: events(folder) >= enough):
        return False
    time.sleep(rng.uniform(0, delay_s))
    return process.poll() is None


def torture(place, trials, kills, start, kill, *, start_s, delay_s):
    """Kills searches so often, looks at each wreck, and goes on to the end of each search."""
    rng = random.Random(SEED)
    searches = killed = 0
    while killed < kills:
        searches += 1
        folder = place / f"search {searches}"
        folder.mkdir()
        before, finished = {}, False
        while not finished:
            process = start(folder)
            if killed < kills and wait_for_a_moment(process, folder, rng, start_s, delay_s):
                kill(process, rng)
                killed += 1
            else:
                printed = process.communicate(timeout=PATIENCE_S)[0]
                assert process.returncode == 0, printed
                finished = True
            assert_sound(folder)
            after = ended(folder)
            assert_nothing_lost_or_repeated(before, after)
            print(f"kill {killed}: {len(after)} of {trials} trials ended, {events(folder)} events")
            before = after
        assert_complete(folder, trials)
    print(f"{killed} kills, {searches} searches, {searches * trials} trials, nothing lost")


def test_kill_9_at_random_moments(tmp_path):
    def kill(process, rng):
        """With the workers or alone: those of a lone driver have to notice."""
        if rng.random() < 0.5:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
        process.stdout.close()

    torture(tmp_path, TRIALS, KILLS, start, kill, start_s=8, delay_s=0.3)


def test_kill_9_at_many_moments_without_training(template, tmp_path):
    """Nearly all of the time of such a search is spent on its databases and files."""

    def kill(process, rng):
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(60) in (-signal.SIGKILL, 0)

    pictures = tmp_path / "pictures"
    write_micrographs(pictures, count=12, size=32, foreground=0.1)
    victims = Victims(pictures, template)
    torture(tmp_path, STUB_TRIALS, STUB_KILLS, victims.start, kill, start_s=1, delay_s=0.05)
    victims.close()


def test_ctrl_c_stops_within_seconds_and_says_how_to_go_on(tmp_path):
    process = start(tmp_path)
    # The second trial is under way: a worker is training.
    assert wait_for(process, lambda: len(ended(tmp_path)) >= 1, every_s=0.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    pressed = time.monotonic()
    printed = process.communicate(timeout=60)[0]
    seconds = time.monotonic() - pressed
    print(f"stopped after {seconds:.1f} s")
    assert process.returncode == 130, printed
    assert seconds < 15
    assert "Traceback" not in printed
    words = " ".join(printed.split())  # the line may be folded
    assert re.search(r"Stopped\. \d finished trials? .* The same command goes on", words), printed
    assert_sound(tmp_path)
    # No worker is left; the helper of `multiprocessing` takes a moment to see that it is alone.
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a process of the search is still running")


def _be_killed(pictures, folder):
    from kerasloss_search import cli

    stub_pool.search(setattr)
    with open(f"{folder}.txt", "w") as log, contextlib.redirect_stdout(log):
        with contextlib.redirect_stderr(log):
            return cli.main(
                [
                    *("run", "--images", f"{pictures}/images", "--masks", f"{pictures}/masks"),
                    *("--size", "32", "--epochs", "2", "--terms", "dice,cross_entropy"),
                    *("--trials", str(STUB_TRIALS), "--backend", "torch", "--output", folder),
                ]
            )


if __name__ == "__main__":
    import kerasloss_search.session  # noqa: F401
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import stub_pool

    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            code = 70
            try:
                code = _be_killed(sys.argv[1], line.rstrip("\n"))
            finally:
                os._exit(code)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
