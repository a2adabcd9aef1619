"""A thread that notices when steps stop coming, and leaves the stacks of all threads behind."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from jaxlin.config.errors import PreemptedError
from jaxlin.config.guard import Guard
from jaxlin.train.crash import own

STACKS = "stacks.txt"
FACTOR = 20  # times the median step
KEPT = 100  # steps whose median counts


class Hang(PreemptedError):
    """No step was finished for too long, and the process ended itself to be started again."""


class Watchdog:
    """Watches while it is open. Its clock runs from the first `beat` on, and not while `paused`:
    compiling, evaluating, saving and restoring take as long as they take.

    `say` gets the text; `ended` the reason before the process ends itself (guard.hang=exit).
    """

    def __init__(
        self,
        rule: Guard,
        run: Path,
        say: Callable[[str], None],
        ended: Callable[[Hang], None],
        clock: Callable[[], float] = time.monotonic,
        leave: Callable[[int], None] = os._exit,
    ):
        self.rule, self.path = rule, own(run, STACKS)
        self._say, self._ended, self._clock, self._leave = say, ended, clock, leave
        self._since: float | None = None  # None: paused
        self._seconds: deque[float] = deque(maxlen=KEPT)
        self._step = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def beat(self, step: int) -> None:
        """A step is finished."""
        now = self._clock()
        if self._since is not None:
            self._seconds.append(now - self._since)
        self._since, self._step = now, step

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside does not count."""
        before, self._since = self._since, None
        yield
        self._since = None if before is None else self._clock()

    def limit(self) -> float:
        """Seconds without a finished step that make a hang."""
        usual = statistics.median(self._seconds) if self._seconds else 0.0
        return max(self.rule.hang_seconds, FACTOR * usual)

    def look(self) -> None:
        """One look at the clock: dumps once for each step that does not come."""
        since, limit = self._since, self.limit()
        if since is None or self._clock() - since <= limit:
            return
        self._since = None  # until the next beat
        reason = (
            f"no step was finished for {limit:.0f} s after step {self._step} (guard.hang_seconds)"
        )
        self._say(f"{reason}; the stacks of all threads are in {self.path}\n{self._dump(reason)}")
        if self.rule.hang == "exit":
            self._ended(Hang(f"{reason}; the same command goes on from the newest checkpoint"))
            self._leave(Hang.exit_code)

    def __enter__(self) -> Watchdog:
        if self.rule.hang != "off":
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(self.rule.hang_seconds / 10):
            self.look()

    def _dump(self, reason: str) -> str:
        """Appends to the file; returns what it appended."""
        try:
            with self.path.open("a+", encoding="utf-8") as file:
                begin = file.seek(0, os.SEEK_END)
                print(
                    f"{time.strftime('%F %T')} pid {os.getpid()}: {reason}", file=file, flush=True
                )
                faulthandler.dump_traceback(file)
                file.seek(begin)
                return file.read()
        except OSError as error:
            return f"they could not be written: {error}"
