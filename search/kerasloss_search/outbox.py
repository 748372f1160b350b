"""How events are kept on disk and delivered: in order, nothing lost, nothing twice."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

JOURNAL = "outbox.jsonl"
POSITION = "outbox.position"
SKIPPED = "outbox.skipped.jsonl"


class Unavailable(Exception):
    """The receiver cannot be reached: the event is tried again for as long as it takes."""


class Undeliverable(Exception):
    """The receiver will never take this event: it is skipped and noted."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal; `end` is the byte offset behind it."""

    kind: str
    key: str
    time_ms: int
    data: dict[str, Any]
    end: int


def without_password(text: str) -> str:
    """Hide the user and password of every URL in `text`, those among its arguments, too."""
    text = re.sub(r"//[^/\s]+@", "//***@", text)
    return re.sub(r"([?&]\w*(?:password|token|secret)\w*=)[^&\s'\"]+", r"\1***", text)


def one_line(problem: BaseException) -> str:
    """Describe a problem in one line, without the password that a URL in it may carry."""
    own = isinstance(problem, Unavailable | Undeliverable)
    text = " ".join((str(problem) if own else f"{type(problem).__name__}: {problem}").split())
    return without_password(text)[:300]


class Outbox:
    """Journal of events in `folder` with a durable position, for one writing process.

    A line counts once its newline is on disk: the torn last line of a killed process is cut off
    when the journal is opened again. Event times grow strictly, so (key, time) is unique too.

    Args:
        folder: Where `outbox.jsonl` and `outbox.position` live; made if it does not exist.
        store: Name of the receiver. Every receiver has its own position, so that a search which
            moves to another server delivers its whole history there.

    Attributes:
        state: What the receiver remembers; saved together with the position.
        delivered: Number of events that got through since the outbox was opened.
    """

    def __init__(self, folder: Path, *, store: str = "default") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._store = hashlib.sha256(store.encode()).hexdigest()[:16]  # a URL may hold a password
        self._lock = threading.Lock()
        self._keys: set[str] = set()
        self._size = self._offset = self._pending = self._time_ms = 0
        self.delivered = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._fd = os.open(folder / JOURNAL, flags, 0o644)
        try:
            self._claim()
            self._load()
        except BaseException:
            os.close(self._fd)
            raise
        self._reader = open(folder / JOURNAL, "rb")

    @property
    def pending(self) -> int:
        """Number of events that are not delivered yet."""
        return self._pending

    def append(self, kind: str, key: str, data: Mapping[str, Any], *, sync: bool = False) -> bool:
        """Write one event at the end of the journal.

        Args:
            kind: What happened.
            key: Idempotency key; an event whose key the journal already holds is left out.
            data: What JSON can hold.
            sync: Wait until the disk has it, so that even a power cut keeps it.

        Returns:
            Whether the event was written.
        """
        with self._lock:
            if self._fd < 0:
                raise RuntimeError("The outbox is closed.")
            if key in self._keys:
                return False
            now = max(time.time_ns() // 1_000_000, self._time_ms + 1)
            record = {"kind": kind, "key": key, "time_ms": now, "data": dict(data)}
            line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
            try:
                self._write(line)
                if sync:
                    os.fsync(self._fd)
                self._size += len(line)
            except BaseException:
                # A full disk may have taken half a line; the next one must not be glued to it.
                # Ctrl-C may come while the disk is waited for; the event then was never written.
                os.ftruncate(self._fd, self._size)
                raise
            self._time_ms = now
            self._keys.add(key)
            self._pending += 1
            return True

    def events(self) -> Iterator[Event]:
        """Read the journal from its beginning."""
        return read(self._folder)

    def next(self) -> Event | None:
        """Return the first event that is not delivered yet, or None."""
        with self._lock:
            while self._offset < self._size:
                self._reader.seek(self._offset)
                line = self._reader.readline()
                if (event := _parse(line, self._offset + len(line))) is not None:
                    return event
                self._offset += len(line)
        return None

    def advance(self, event: Event) -> None:
        """Record durably that `event`, the first one pending, and `state` are through."""
        self.delivered += 1
        self._pass(event)

    def _pass(self, event: Event) -> None:
        with self._lock:
            self._offset = event.end
            self._pending -= 1
        self._save()

    def skip(self, event: Event, reason: str) -> None:
        """Note in `outbox.skipped.jsonl` why `event` is not delivered, and go on."""
        record = {"kind": event.kind, "key": event.key, "time_ms": event.time_ms, "reason": reason}
        try:
            with open(self._folder / SKIPPED, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        finally:
            self._pass(event)

    def close(self) -> None:
        """Let another process write; calling it again does nothing."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._reader.close()
                self._fd = -1

    def _claim(self) -> None:
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"Another process is writing to `{self._folder}`. Stop it, or use another folder."
            ) from None
        except OSError:
            pass  # some network file systems have no locks; one writer is then the user's care

    def _load(self) -> None:
        self._positions = self._read_positions()
        mine = self._positions.get(self._store, {})
        self.state: dict[str, Any] = mine.get("state", {})
        self._offset = int(mine.get("offset", 0))
        torn = False
        with open(self._folder / JOURNAL, "rb") as file:
            for line in file:
                torn = not line.endswith(b"\n")
                if torn:
                    break
                self._size += len(line)
                if (event := _parse(line, self._size)) is not None:
                    self._keys.add(event.key)
                    self._time_ms = max(self._time_ms, event.time_ms)
                    self._pending += event.end > self._offset
        if torn:
            os.ftruncate(self._fd, self._size)
        if self._offset > self._size:
            # A power cut can take delivered lines back. Left alone, the position would later
            # point behind events that were never delivered.
            self._offset = self._size
            self._save()

    def _read_positions(self) -> dict[str, Any]:
        try:
            positions = json.loads((self._folder / POSITION).read_bytes())
        except (OSError, ValueError):
            return {}  # delivering again from the start is safe, refusing to start is not
        return positions if isinstance(positions, dict) else {}

    def _save(self) -> None:
        self._positions[self._store] = {"offset": self._offset, "state": self.state}
        scratch = self._folder / (POSITION + ".new")
        with open(scratch, "w", encoding="utf-8") as file:
            json.dump(self._positions, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, self._folder / POSITION)

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(self._fd, rest) :]


def read(folder: Path) -> Iterator[Event]:
    """Read the journal in `folder` from its beginning, without opening it for writing."""
    with open(folder / JOURNAL, "rb") as file:
        end = 0
        for line in file:
            end += len(line)
            if (event := _parse(line, end)) is not None:
                yield event


def _parse(line: bytes, end: int) -> Event | None:
    try:
        record = json.loads(line)
        return Event(record["kind"], record["key"], record["time_ms"], record["data"], end)
    except (ValueError, KeyError, TypeError):
        return None  # a damaged line holds nothing to deliver


class Courier:
    """Daemon thread that hands the events of an outbox to `deliver`, one after the other.

    Args:
        outbox: Closed by the courier when its thread ends.
        deliver: Called with an event and whether an earlier attempt may already have got through.
            Raises `Unavailable` to be called again for ever, `Undeliverable` to have the event
            skipped; after any other exception it is called `patience` times in all.
        first_delay_s: Pause after the first failure; it doubles with each further one.
        longest_delay_s: Longest pause.
        patience: See `deliver`.
    """

    def __init__(
        self,
        outbox: Outbox,
        deliver: Callable[[Event, bool], None],
        *,
        first_delay_s: float = 0.5,
        longest_delay_s: float = 30.0,
        patience: int = 8,
    ) -> None:
        self._outbox = outbox
        self._deliver = deliver
        self._first_delay_s = first_delay_s
        self._longest_delay_s = longest_delay_s
        self._patience = patience
        self._trouble: str | None = None
        self._skipped: str | None = None
        self._news = threading.Condition()
        self._closing = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    @property
    def error(self) -> str | None:
        """What is wrong now, else why the last skipped event was skipped, else None."""
        return self._trouble or self._skipped

    def wake(self) -> None:
        """Say that there is a new event."""
        with self._news:
            self._news.notify()

    def close(self, timeout_s: float, *, stuck_s: float = 10.0) -> int:
        """Deliver what is left, for at most `timeout_s`; return how many events are not through.

        Where nothing gets through and there is a reason, `stuck_s` are enough.
        """
        self._closing.set()
        self.wake()
        end = time.monotonic() + timeout_s
        hope, left = time.monotonic() + stuck_s, self._outbox.pending
        while self._thread.is_alive() and (now := time.monotonic()) < min(end, hope):
            self._thread.join(min(0.1, end - now))
            if self._trouble is None or self._outbox.pending < left:
                hope, left = time.monotonic() + stuck_s, self._outbox.pending
        self._stopped.set()
        # The thread closes the outbox itself: an event that is on its way belongs to nobody else.
        self._thread.join(0.5)
        return self._outbox.pending

    def _run(self) -> None:
        failures, in_doubt = 0, True  # the process before this one may have died in mid-delivery
        try:
            while (event := self._wait()) is not None:
                try:
                    self._deliver(event, in_doubt)
                except Exception as problem:
                    failures += 1
                    self._trouble = one_line(problem)
                    if self._hopeless(problem, failures):
                        self._skipped = f"skipped {event.key}: {self._trouble}"
                        self._settle(self._outbox.skip, event, self._trouble)
                    else:
                        in_doubt = True
                        self._pause(failures)
                        continue
                else:
                    self._settle(self._outbox.advance, event)
                failures, in_doubt = 0, False
        finally:
            self._outbox.close()

    def _wait(self) -> Event | None:
        with self._news:
            while not self._stopped.is_set():
                if (event := self._outbox.next()) is not None:
                    return event
                if self._closing.is_set():
                    break
                self._news.wait()
        return None

    def _hopeless(self, problem: Exception, failures: int) -> bool:
        if isinstance(problem, Undeliverable):
            return True
        return not isinstance(problem, Unavailable) and failures >= self._patience

    def _pause(self, failures: int) -> None:
        delay_s = min(self._longest_delay_s, self._first_delay_s * 2 ** min(failures - 1, 20))
        if self._closing.is_set():
            self._stopped.wait(min(delay_s, 1.0))
        else:
            self._closing.wait(delay_s)

    def _settle(self, record: Callable[..., None], *arguments: object) -> None:
        self._trouble = None
        try:
            record(*arguments)
        except OSError as problem:
            # The position in memory has moved on; the next save that works catches up.
            self._trouble = one_line(problem)
