"""queue.jsonl: who works on which point of a sweep. Several workers share it on one file system.

One line an event, appended under a lock of the file; the last event of a point stands. A worker
that was killed leaves "running" behind, which counts as pending once it is certainly gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from jaxlin.config.errors import CheckpointError
from jaxlin.train import writer
from jaxlin.train.lock import LOCK

QUEUE, RUNS = "queue.jsonl", "runs"
SILENCE = 600.0  # seconds without a sign of life, after which --takeover takes a point
State = Literal["pending", "running", "done", "failed"]
STATES: tuple[State, ...] = ("pending", "running", "done", "failed")
WORKER = ("host", "boot", "space", "pid", "born")  # of jaxlin.train.writer.Writer


class Event(NamedTuple):
    """A line. `worker` wrote it; `reason`: why it failed or is pending again."""

    time: float
    id: str
    state: State
    worker: Mapping[str, Any]
    reason: str | None = None


class Queue:
    """The queue of a sweep folder. `clock` gives seconds since 1970. `takeover`: points of workers
    on other hosts that have been silent for SILENCE are pending too."""

    def __init__(
        self, folder: Path, takeover: bool = False, clock: Callable[[], float] = time.time
    ):
        self.folder, self.path = folder, folder / QUEUE
        self._takeover, self._clock = takeover, clock
        self.me = {name: getattr(writer.this_process(0.0, 0.0), name) for name in WORKER}

    def add(self, ids: Iterable[str], state: State, reason: str | None = None) -> None:
        """Appends an event for each."""
        with self._locked() as (file, _):
            self._append(file, ids, state, reason)

    def begin(self, ids: Iterable[str]) -> None:
        """Marks as running what this process trains, but for what its parent has claimed for it: a
        sweep that is killed takes its children with it, once they have saved."""
        parent = os.getppid()
        with self._locked() as (file, last):
            own = [id for id in ids if not self._of_process(last.get(id), parent)]
            self._append(file, own, "running", None)

    def claim(
        self, groups: Sequence[Sequence[str]], retry: frozenset[str] = frozenset()
    ) -> tuple[str, ...]:
        """Marks as running what can be taken of the first group that has anything; () if none has.

        retry: points that may be taken though they failed.
        """
        with self._locked() as (file, last):
            for group in groups:
                free = tuple(id for id in group if self._free(id, last.get(id), retry))
                if free:
                    self._append(file, free, "running", None)
                    return free
        return ()

    def states(self, ids: Iterable[str]) -> dict[str, Event]:
        """What stands for each point; the points of workers that are gone are pending."""
        last = self.last() if self.path.exists() else {}
        return {id: self._standing(id, last.get(id)) for id in ids}

    def last(self) -> dict[str, Event]:
        """The last event of each point, as written."""
        return last(self.path.read_bytes())

    def occupied(self, id: str) -> bool:
        """Whether a process that lives on this host holds the run directory: what a killed sweep
        has started saves and ends, but not at once."""
        found = writer.read(self._lock_of(id))
        if found is None or not writer.known_from_here(found):
            return False
        return not writer.dead(found, self._clock() - found.heartbeat)

    def _of_process(self, event: Event | None, pid: int) -> bool:
        """Whether a process of this host has claimed the point."""
        if event is None or event.state != "running":
            return False
        here = ("host", "boot", "space")
        same = all(event.worker.get(name) == self.me[name] for name in here)
        return same and event.worker.get("pid") == pid

    def _free(self, id: str, event: Event | None, retry: frozenset[str]) -> bool:
        stands = self._standing(id, event).state
        return (stands == "pending" or (stands == "failed" and id in retry)) and (
            not self.occupied(id)
        )

    def _standing(self, id: str, event: Event | None) -> Event:
        if event is None:
            return Event(0.0, id, "pending", {})
        if event.state == "running" and event.worker != self.me and self._gone(id, event):
            return event._replace(state="pending", reason="its worker was killed")
        return event

    def _gone(self, id: str, event: Event) -> bool:
        """Whether the worker of an event has certainly ended, or is silent and may be replaced."""
        silence = self._clock() - max(event.time, self._heartbeat(id))
        who = _writer(event)
        if who is None:
            return True  # no worker of ours signs like this
        if writer.dead(who, silence):
            return True
        return self._takeover and not writer.known_from_here(who) and silence > SILENCE

    def _heartbeat(self, id: str) -> float:
        found = writer.read(self._lock_of(id))
        return found.heartbeat if found else 0.0

    def _lock_of(self, id: str) -> Path:
        return self.folder / RUNS / id / LOCK

    @contextmanager
    def _locked(self) -> Iterator[tuple[IO[bytes], dict[str, Event]]]:
        try:
            with self.path.open("ab+") as file:
                fcntl.lockf(file, fcntl.LOCK_EX)  # until it is closed; over NFS too
                file.seek(0)
                content = file.read()
                if content and not content.endswith(b"\n"):
                    file.write(b"\n")  # a worker was killed within a line
                yield file, last(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CheckpointError(
                f"{self.path}: cannot be locked and written ({error.strerror or error}); a sweep "
                "needs a folder that it can write to, on a file system with locks"
            ) from error

    def _append(
        self, file: IO[bytes], ids: Iterable[str], state: State, reason: str | None
    ) -> None:
        lines = [
            json.dumps(Event(self._clock(), id, state, self.me, reason)._asdict()) + "\n"
            for id in ids
        ]
        file.write("".join(lines).encode())


def last(content: bytes) -> dict[str, Event]:
    """The last event of each point; lines that are none, such as a torn one, are passed over."""
    found: dict[str, Event] = {}
    for line in content.splitlines():
        event = _event(line)
        if event is not None:
            found[event.id] = event
    return found


def _event(line: bytes) -> Event | None:
    try:
        raw = json.loads(line)
        event = Event(**{name: raw[name] for name in Event._fields})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    whole = isinstance(event.id, str) and event.state in STATES
    timed = isinstance(event.time, int | float) and isinstance(event.worker, Mapping)
    return event if whole and timed else None


def _writer(event: Event) -> writer.Writer | None:
    """The worker of an event as one who signs run.lock."""
    fields = {name: event.worker.get(name) for name in WORKER}
    pid, host = fields["pid"], fields["host"]
    if not isinstance(pid, int) or isinstance(pid, bool) or pid < 1 or not isinstance(host, str):
        return None
    times = {"started": event.time, "heartbeat": event.time, "interval": 30.0}
    return writer.Writer(token="", **fields, **times)  # pyright: ignore[reportArgumentType]
