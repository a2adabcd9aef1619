"""Works through the points of a sweep: some child processes at a time, until nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxlin.config.errors import PreemptedError
from jaxlin.study.sweep.folder import CACHE, LOGS, Sweep
from jaxlin.study.sweep.queue import Queue, State

TOLD = PreemptedError.exit_code
POLL = 0.2  # seconds
RESTARTS = 3  # of a point that ends with 75 though nobody told it to
LONGEST = 2000  # characters of a reason


@dataclass(frozen=True)
class Settings:
    """How children run. `cores`: a set of them for each place. `variables` of their environment."""

    parallel: int = 1
    takeover: bool = False
    cores: Sequence[frozenset[int]] = ()
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Child:
    ids: tuple[str, ...]
    place: int
    log: Path
    process: subprocess.Popen[bytes]


class Runner:
    """Claims points from the queue and runs them; `groups` are trained together. `command` gives
    the command for the points of a child, `ended` is called with a point that is over, `tick` all
    the time."""

    def __init__(
        self,
        sweep: Sweep,
        queue: Queue,
        groups: Sequence[tuple[str, ...]],
        settings: Settings,
        *,
        retry: frozenset[str] = frozenset(),
        command: Callable[[tuple[str, ...]], list[str]] | None = None,
        say: Callable[[str], None] = lambda text: None,
        ended: Callable[[str], None] = lambda id: None,
        tick: Callable[[], None] = lambda: None,
    ):
        self.sweep, self._queue, self._settings = sweep, queue, settings
        self._groups, self._retry = list(groups), retry
        self._command = command or self._jaxlin
        self._say, self._ended, self._tick = say, ended, tick
        self._children: list[_Child] = []
        self._restarts: Counter[str] = Counter()
        self.told = 0

    def run(self) -> bool:
        """Until nothing is left to be done here; whether it was told to stop before."""
        try:
            with self._signals():
                while self._go_on():
                    self._tick()
                    time.sleep(POLL)
        finally:
            for child in self._children:
                child.process.kill()
                child.process.wait()
        return self.told > 0

    def _go_on(self) -> bool:
        """One round: what has ended, what can start; whether there will be another one."""
        for child in [c for c in self._children if c.process.poll() is not None]:
            self._children.remove(child)
            self._end(child)
        if not self.told:
            self._fill()
        return bool(self._children) or (not self.told and self._waiting())

    def _fill(self) -> None:
        while len(self._children) < self._settings.parallel:
            ids = self._queue.claim(self._groups, self._retry)
            if not ids:
                return
            self._retry -= set(ids)
            self._children.append(self._start(ids))
            self._say(f"started {', '.join(ids)}")

    def _waiting(self) -> bool:
        """Whether points are pending that a process of a killed sweep still holds."""
        ids = [id for group in self._groups for id in group]
        found = self._queue.states(ids)
        return any(event.state == "pending" for event in found.values())

    def _start(self, ids: tuple[str, ...]) -> _Child:
        taken = {child.place for child in self._children}
        place = next(i for i in range(self._settings.parallel) if i not in taken)
        log = self.sweep.folder / LOGS / f"{ids[0]}.log"
        with log.open("wb") as file, self._on_cores(place):
            process = subprocess.Popen(
                self._command(ids),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Ctrl-C reaches them through this process only
            )
        return _Child(ids, place, log, process)

    def _jaxlin(self, ids: tuple[str, ...]) -> list[str]:
        """A child that ends with this process, however it ends."""
        child = [sys.executable, "-m", "jaxlin.cli._child", str(os.getpid())]
        return [*child, *self._words(ids)]

    def _words(self, ids: tuple[str, ...]) -> list[str]:
        more = ["--takeover"] if self._settings.takeover else []
        points = [word for id in ids for word in ("--point", id)]
        return ["sweep", str(self.sweep.folder), *points, *more]

    def _environment(self) -> dict[str, str]:
        # Points that differ in their seed alone, and restarts, compile the same programs.
        cache = {
            "JAX_COMPILATION_CACHE_DIR": str(self.sweep.folder / CACHE),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        }
        path = {"PYTHONPATH": os.pathsep.join(sys.path)}
        return cache | os.environ | path | dict(self._settings.variables)

    @contextmanager
    def _on_cores(self, place: int) -> Iterator[None]:
        """What is started inside has its own cores: XLA makes a thread for each that it may use."""
        cores = self._settings.cores
        if not cores:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores[place])
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    def _end(self, child: _Child) -> None:
        """Writes down how the points of a child ended, as far as it has not done so itself."""
        code = child.process.returncode
        last = self._queue.last()
        for id in child.ids:
            if last[id].state == "running":
                self._queue.add([id], *self._outcome(code, child.log))
            self._refuse_endless(id)
            self._report(id)

    def _outcome(self, code: int, log: Path) -> tuple[State, str | None]:
        """State and reason of a point whose process ended with this code."""
        if code == 0:
            return "done", None
        if self.told and (code == TOLD or code < 0):
            return "pending", "told to stop"
        if code == TOLD:
            return "pending", _paragraph(log) or "it asked to be started again"
        return "failed", reason(code, log)

    def _refuse_endless(self, id: str) -> None:
        """A point that asks to be started again and again, untold, fails."""
        event = self._queue.last()[id]
        if event.state != "pending" or self.told:
            return
        self._restarts[id] += 1
        if self._restarts[id] > RESTARTS:
            why = f"ended {self._restarts[id]} times with exit code {TOLD}: {event.reason}"
            self._queue.add([id], "failed", why)

    def _report(self, id: str) -> None:
        event = self._queue.last()[id]
        if event.state in ("done", "failed"):
            self._ended(id)
        why = f": {event.reason}" if event.reason else ""
        self._say(f"{event.state} {id}{why}")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT of this process end all children: the first lets them save."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._pass_on) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, frame: Any) -> None:
        self.told += 1
        for child in self._children:
            with suppress(ProcessLookupError):
                child.process.send_signal(signal.SIGTERM if self.told == 1 else signal.SIGKILL)


def reason(code: int, log: Path) -> str:
    """Why a child failed: its exit code and the paragraph that it ended with."""
    said = _paragraph(log)
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        memory = " (out of memory?)" if code == -signal.SIGKILL else ""
        return f"ended by {name}{memory}{': ' + said if said else ''}"
    return f"exit code {code}: {said or 'it said nothing'}"


def _paragraph(log: Path) -> str:
    """The error that a command ended with, or else its last lines."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("jaxlin: ")]
    told = lines[starts[-1] :] if starts else lines[-5:]
    found = "\n".join(told).removeprefix("jaxlin: ").removeprefix("error: ").strip()
    return found if len(found) <= LONGEST else f"{found[:LONGEST]}..."
