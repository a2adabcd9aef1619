"""One live line about a run; plain lines where the output is no terminal."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from io import TextIOBase
from typing import Any


class Meter:
    """Speed between two looks, without the time spent in pauses."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._step: int | None = None  # the first step, which compiles, is not measured
        self._since = self._waited = 0.0

    def start(self, step: int, waited: float) -> None:
        """Measures from this step on. `waited`: seconds spent so far in waiting for input."""
        self._since, self._step, self._waited = self._clock(), step, waited

    def look(self, step: int, tokens: int, waited: float) -> dict[str, float]:
        """Seconds a step, tokens per second (`tokens` in a step), share of time without input."""
        since, first, before = self._since, self._step, self._waited
        self.start(step, waited)
        if first is None or step == first:
            return {}
        seconds = max(self._since - since, 1e-9)
        return {
            "seconds_per_step": seconds / (step - first),
            "tokens_per_second": (step - first) * tokens / seconds,
            "input_wait_share": (waited - before) / seconds,
        }


class Progress:
    """Shows a run of `steps` steps on `out` (standard error by default); `quiet` only keeps its
    last lines, where another process shows the same."""

    def __init__(self, steps: int, out: TextIOBase | None = None, quiet: bool = False):
        self.steps, self._quiet = steps, quiet
        self.out: Any = sys.stderr if out is None else out
        self._live, self._open = self.out.isatty(), False
        self.lines: deque[str] = deque(maxlen=50)  # the last ones, for the record of a crash

    def show(self, step: int, loss: float, speed: Mapping[str, float]) -> None:
        """The line of a step; `speed` as Meter gives it."""
        parts = [f"step {step}/{self.steps}", f"loss {loss:.4f}"]
        if speed:
            left = (self.steps - step) * speed["seconds_per_step"]
            parts += [f"{speed['tokens_per_second']:,.0f} tokens/s", f"{duration(left)} left"]
        self.note("  ".join(parts))

    def note(self, text: str) -> None:
        """A line that the next one replaces."""
        if not self._live:
            return self.say(text)
        self.lines.append(text)
        self._open = True
        self._put("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1])

    def say(self, text: str) -> None:
        """A line that stays, above the live one."""
        self.lines.append(text)
        self._put(("\r\x1b[K" if self._open else "") + text + "\n")
        self._open = False

    def close(self) -> None:
        """Leaves the live line standing."""
        if self._open:
            self._put("\n")
        self._open = False

    def _put(self, text: str) -> None:
        if self._quiet:
            return
        try:
            self.out.write(text)
            self.out.flush()
        except (OSError, ValueError):
            pass  # nobody listens any more (a closed pipe); the records have it all


def duration(seconds: float) -> str:
    """'45 s', '12 min 05 s', '3 h 20 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
