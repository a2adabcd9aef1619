"""A process as it signs run.lock: who it is, when it was last alive, whether it is dead."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass, fields
from pathlib import Path

MISSED = 3  # heartbeats, after which a writer counts as silent


@dataclass(frozen=True)
class Writer:
    """Times are seconds since 1970."""

    token: str
    host: str
    boot: str | None  # which start of the machine; None where /proc does not say
    space: str | None  # which set of process numbers (containers have their own)
    pid: int
    born: int | None  # clock ticks from boot to the process's start: numbers are used again
    started: float
    heartbeat: float
    interval: float

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started))
        return f"process {self.pid} on {self.host} since {since}"

    def text(self) -> str:
        """As it stands in the file."""
        return json.dumps(asdict(self), indent=2) + "\n"


def read(path: Path) -> Writer | None:
    """Who signed the file; None if there is none, or it is no signature."""
    try:
        found = json.loads(path.read_bytes())
        writer = Writer(**{field.name: found[field.name] for field in fields(Writer)})
        return writer if _sane(writer) else None
    except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
        return None


def this_process(now: float, interval: float) -> Writer:
    """The signature of this process."""
    pid = os.getpid()
    return Writer(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        boot=_boot(),
        space=_space(),
        pid=pid,
        born=_born(pid),
        started=now,
        heartbeat=now,
        interval=interval,
    )


def dead(writer: Writer, silence: float) -> bool:
    """Whether it is certain from here that a writer, silent for so many seconds, has ended."""
    if writer.host != socket.gethostname():
        return False
    if writer.boot != _boot():  # the machine of its name was started anew
        return silence > MISSED * writer.interval
    if writer.space != _space():
        return False
    try:
        os.kill(writer.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it lives, under another user
    return writer.born is not None and _born(writer.pid) != writer.born


def known_from_here(writer: Writer) -> bool:
    """Whether this process can see if a writer lives: same start of the same machine, same set of
    process numbers."""
    here = (socket.gethostname(), _boot(), _space())
    return (writer.host, writer.boot, writer.space) == here


def _sane(writer: Writer) -> bool:
    times = (writer.started, writer.heartbeat, writer.interval)
    numbers = isinstance(writer.pid, int) and all(isinstance(t, int | float) for t in times)
    return numbers and 0 < writer.pid < 2**31 and all(0 <= t < 2**40 for t in times)


def _boot() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _space() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _born(pid: int) -> int | None:
    """Start of a process; -1 if it has ended and its parent has not noticed yet; None: unknown."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return -1 if state in "ZX" else int(rest[18])
