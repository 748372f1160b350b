"""The journal and its courier, without MLflow."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import kerasloss_search
import pytest
from kerasloss_search.outbox import (
    Courier,
    Event,
    Outbox,
    Unavailable,
    Undeliverable,
    one_line,
    without_password,
)

SEARCH = Path(kerasloss_search.__path__[0]).parent


def fill(outbox: Outbox, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        assert outbox.append("count", f"count/{number}", {"number": number})


def drain(outbox: Outbox) -> list[int]:
    numbers = []
    while (event := outbox.next()) is not None:
        numbers.append(event.data["number"])
        outbox.advance(event)
    return numbers


@pytest.fixture
def outbox(tmp_path):
    outbox = Outbox(tmp_path / "new" / "folder")
    yield outbox
    outbox.close()


def test_events_come_back_in_order_and_once(outbox):
    fill(outbox, 3)
    assert outbox.pending == 3
    assert drain(outbox) == [0, 1, 2]
    assert outbox.pending == 0
    assert outbox.next() is None


def test_next_repeats_an_event_until_it_is_settled(outbox):
    fill(outbox, 2)
    assert outbox.next() == outbox.next()
    assert outbox.pending == 2


def test_times_grow_strictly_even_when_the_clock_goes_back(outbox, monkeypatch):
    outbox.append("a", "a", {})
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    outbox.append("b", "b", {})
    outbox.append("c", "c", {})
    times = [event.time_ms for event in outbox.events()]
    assert times == [times[0], times[0] + 1, times[0] + 2]


def test_a_key_is_written_once_in_this_and_later_sessions(tmp_path):
    outbox = Outbox(tmp_path)
    assert outbox.append("a", "same", {"value": 1})
    assert not outbox.append("a", "same", {"value": 2})
    outbox.close()
    outbox = Outbox(tmp_path)
    assert not outbox.append("a", "same", {"value": 3})
    assert [event.data for event in outbox.events()] == [{"value": 1}]
    outbox.close()


def test_position_and_state_outlive_the_process(tmp_path):
    outbox = Outbox(tmp_path)
    fill(outbox, 3)
    event = outbox.next()
    assert event is not None
    outbox.state["run"] = "abc"
    outbox.advance(event)
    outbox.close()
    outbox = Outbox(tmp_path)
    assert outbox.state == {"run": "abc"}
    assert outbox.pending == 2
    assert drain(outbox) == [1, 2]
    outbox.close()


@pytest.mark.parametrize("torn", [b"{", b'{"kind":"count","key":"count/9"', b"\xff\x00"])
def test_a_torn_last_line_is_cut_off(tmp_path, torn):
    outbox = Outbox(tmp_path)
    fill(outbox, 2)
    outbox.close()
    with open(tmp_path / "outbox.jsonl", "ab") as file:
        file.write(torn)
    outbox = Outbox(tmp_path)
    assert outbox.pending == 2
    fill(outbox, 1, first=2)
    assert drain(outbox) == [0, 1, 2]
    outbox.close()
    lines = (tmp_path / "outbox.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["count/0", "count/1", "count/2"]


def test_a_damaged_line_in_the_middle_is_passed_over(tmp_path):
    outbox = Outbox(tmp_path)
    fill(outbox, 3)
    outbox.close()
    journal = tmp_path / "outbox.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"\x00" * 40 + b"\n" + b"[1]\n" + lines[1] + lines[2])
    outbox = Outbox(tmp_path)
    assert outbox.pending == 3
    assert drain(outbox) == [0, 1, 2]
    assert outbox.pending == 0
    outbox.close()


def test_events_after_a_journal_that_lost_its_end_are_still_delivered(tmp_path):
    outbox = Outbox(tmp_path)
    fill(outbox, 5)
    drain(outbox)
    outbox.close()
    journal = tmp_path / "outbox.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:2]))
    outbox = Outbox(tmp_path)
    assert outbox.pending == 0
    fill(outbox, 4, first=10)
    outbox.close()  # before anything is delivered: the stored position must be right by itself
    outbox = Outbox(tmp_path)
    assert drain(outbox) == [10, 11, 12, 13]
    outbox.close()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\x00" * 30])
def test_a_damaged_position_means_delivering_again(tmp_path, content):
    outbox = Outbox(tmp_path)
    fill(outbox, 2)
    drain(outbox)
    outbox.close()
    (tmp_path / "outbox.position").write_bytes(content)
    outbox = Outbox(tmp_path)
    assert drain(outbox) == [0, 1]
    outbox.close()


def test_every_store_has_its_own_position_and_state(tmp_path):
    outbox = Outbox(tmp_path, store="first")
    fill(outbox, 2)
    outbox.state["at"] = "first"
    drain(outbox)
    outbox.close()
    outbox = Outbox(tmp_path, store="second")
    assert outbox.state == {}
    fill(outbox, 1, first=2)
    assert drain(outbox) == [0, 1, 2]
    outbox.close()
    outbox = Outbox(tmp_path, store="first")
    assert outbox.state == {"at": "first"}
    assert drain(outbox) == [2]
    outbox.close()


def test_the_name_of_a_store_is_not_written_down(tmp_path):
    outbox = Outbox(tmp_path, store="https://user:secret@server")
    fill(outbox, 1)
    drain(outbox)
    outbox.close()
    for file in tmp_path.iterdir():
        assert b"secret" not in file.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks there")
def test_there_is_one_writer(tmp_path):
    outbox = Outbox(tmp_path)
    with pytest.raises(RuntimeError, match="Another process"):
        Outbox(tmp_path)
    outbox.close()
    Outbox(tmp_path).close()


def test_a_closed_outbox_takes_nothing(tmp_path):
    outbox = Outbox(tmp_path)
    outbox.close()
    outbox.close()
    with pytest.raises(RuntimeError, match="closed"):
        outbox.append("a", "a", {})


def test_a_full_disk_leaves_no_half_line(outbox, monkeypatch):
    fill(outbox, 1)
    write = os.write

    def full(fd: int, data: bytes) -> int:
        write(fd, bytes(data)[:7])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            outbox.append("count", "count/1", {"number": 1})
    assert outbox.pending == 1
    fill(outbox, 1, first=1)  # the same key is free, as nothing was written
    assert drain(outbox) == [0, 1]


def test_ctrl_c_while_the_disk_is_waited_for_leaves_the_event_unwritten(outbox, monkeypatch):
    """Half accounted for it would hold up the last event of the session."""

    def interrupted(fd):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            outbox.append("epoch", "0", {"n": 0}, sync=True)
    assert outbox.pending == 0
    fill(outbox, 2)
    assert drain(outbox) == [0, 1]


def test_sync_reaches_the_disk(outbox, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    outbox.append("a", "a", {})
    assert synced == []
    outbox.append("b", "b", {}, sync=True)
    assert len(synced) == 1


def test_kill_9_while_writing_loses_nothing_that_was_acknowledged(tmp_path):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from kerasloss_search.outbox import Outbox\n"
        "outbox = Outbox(Path(sys.argv[1]))\n"
        "for number in range(10**9):\n"
        "    outbox.append('count', f'count/{number}', {'number': number, 'pad': 'x' * 5000})\n"
        "    print(number, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(SEARCH)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while int(process.stdout.readline()) < 200:
        pass
    process.kill()
    acknowledged = [int(line) for line in process.stdout if line.endswith("\n")]
    process.stdout.close()
    process.wait()
    outbox = Outbox(tmp_path)
    numbers = [event.data["number"] for event in outbox.events()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > max(acknowledged, default=200)
    outbox.close()


class Receiver:
    """Takes events; fails as often as it is told to."""

    def __init__(self, *problems: Exception) -> None:
        self.problems = list(problems)
        self.calls: list[tuple[str, bool]] = []
        self.arrived: list[str] = []

    def __call__(self, event: Event, in_doubt: bool) -> None:
        self.calls.append((event.key, in_doubt))
        if self.problems:
            raise self.problems.pop(0)
        self.arrived.append(event.key)


def test_the_courier_delivers_in_order_and_doubts_the_first_event_only(tmp_path):
    outbox, receiver = Outbox(tmp_path), Receiver()
    courier = Courier(outbox, receiver)
    fill(outbox, 3)
    courier.wake()
    assert courier.close(10) == 0
    assert receiver.calls == [("count/0", True), ("count/1", False), ("count/2", False)]
    assert courier.error is None


def test_an_event_that_failed_is_in_doubt_and_stays_first(tmp_path):
    outbox, receiver = Outbox(tmp_path), Receiver()
    fill(outbox, 2)
    drain(outbox)
    receiver.problems = [Unavailable("away"), Unavailable("away")]
    fill(outbox, 2, first=2)
    courier = Courier(outbox, receiver, first_delay_s=0.001)
    assert courier.close(10) == 0
    assert receiver.arrived == ["count/2", "count/3"]
    assert receiver.calls == [("count/2", True)] * 3 + [("count/3", False)]
    assert courier.error is None


def test_what_cannot_be_delivered_is_skipped_and_noted(tmp_path):
    outbox, receiver = Outbox(tmp_path), Receiver(Undeliverable("the run is deleted"))
    fill(outbox, 2)
    courier = Courier(outbox, receiver)
    assert courier.close(10) == 0
    assert receiver.arrived == ["count/1"]
    assert courier.error == "skipped count/0: the run is deleted"
    (note,) = (tmp_path / "outbox.skipped.jsonl").read_text().splitlines()
    assert json.loads(note)["key"] == "count/0"
    assert json.loads(note)["reason"] == "the run is deleted"


def test_patience_ends_with_unknown_problems_but_never_with_an_outage(tmp_path):
    problems = [ValueError("odd")] * 3 + [Unavailable("away")] * 20
    outbox, receiver = Outbox(tmp_path), Receiver(*problems)
    fill(outbox, 2)
    courier = Courier(outbox, receiver, first_delay_s=0.0, patience=3)
    assert courier.close(10) == 0
    assert receiver.arrived == ["count/1"]
    assert [key for key, _ in receiver.calls] == ["count/0"] * 3 + ["count/1"] * 21


def test_a_full_disk_does_not_stop_delivery(tmp_path, monkeypatch):
    outbox, receiver = Outbox(tmp_path), Receiver(Undeliverable("gone"))
    fill(outbox, 3)

    def full(self: Outbox) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Outbox, "_save", full)
    courier = Courier(outbox, receiver)
    assert courier.close(10) == 0
    assert receiver.arrived == ["count/1", "count/2"]
    assert "No space left" in str(courier.error)


def test_pauses_double_up_to_the_longest(tmp_path):
    outbox, receiver = Outbox(tmp_path), Receiver(*[Unavailable("away")] * 9)
    courier = Courier(outbox, receiver)
    pauses: list[float] = []
    courier._closing.wait = lambda seconds: pauses.append(seconds) or False
    fill(outbox, 1)
    courier.wake()
    while outbox.pending:
        time.sleep(0.001)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    courier.close(10)


def test_closing_tries_again_at_once_and_gives_up_in_time(tmp_path):
    outbox, receiver = Outbox(tmp_path), Receiver(*[Unavailable("away\nfrom here")] * 1000)
    fill(outbox, 3)
    courier = Courier(outbox, receiver, first_delay_s=30.0)
    while not receiver.calls:
        time.sleep(0.001)
    start = time.perf_counter()
    assert courier.close(0.3) == 3
    assert 0.2 < time.perf_counter() - start < 2
    assert len(receiver.calls) >= 2
    assert courier.error == "away from here"
    outbox = Outbox(tmp_path)  # the writer's place is free again
    assert outbox.pending == 3
    outbox.close()


def test_closing_does_not_wait_for_a_receiver_that_is_away(tmp_path):
    def deliver(event, in_doubt):
        raise Unavailable("away")

    outbox = Outbox(tmp_path)
    fill(outbox, 2)
    courier = Courier(outbox, deliver, first_delay_s=0.01, longest_delay_s=0.01)
    start = time.monotonic()
    assert courier.close(60, stuck_s=0.2) == 2
    assert time.monotonic() - start < 10


def test_closing_waits_for_a_receiver_that_is_slow(tmp_path):
    outbox = Outbox(tmp_path)
    fill(outbox, 3)
    courier = Courier(outbox, lambda event, in_doubt: time.sleep(0.3))
    assert courier.close(60, stuck_s=0.1) == 0


def test_a_delivery_that_hangs_does_not_hold_up_closing(tmp_path):
    outbox, free = Outbox(tmp_path), threading.Event()
    fill(outbox, 2)
    courier = Courier(outbox, lambda event, in_doubt: free.wait(30) and None)
    start = time.perf_counter()
    assert courier.close(0.1) == 2
    assert time.perf_counter() - start < 2
    with pytest.raises(RuntimeError, match="Another process"):
        Outbox(tmp_path)  # the event on its way belongs to the first courier alone
    free.set()
    courier._thread.join(10)
    outbox = Outbox(tmp_path)
    assert drain(outbox) == [1]
    outbox.close()


def test_one_line_hides_passwords_and_newlines():
    problem = OSError("cannot reach https://user:pass@server/path\nbecause")
    assert one_line(problem) == "OSError: cannot reach https://***@server/path because"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://me:p@ss@host:5000", "http://***@host:5000"),
        ("http://host?password=x&a=1", "http://host?password=***&a=1"),
        ("http://host/a@b", "http://host/a@b"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
    ],
)
def test_no_part_of_a_password_is_told(url, told):
    assert without_password(f"at '{url}' now") == f"at '{told}' now"
    assert len(one_line(OSError("x" * 5000))) == 300
