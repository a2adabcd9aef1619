"""One live line about a run; plain lines where the output is no terminal."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO


class Meter:
    """Tokens per second between two looks, without the time spent in pauses."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._since, self._step = clock(), 0
        self._waited = 0.0

    def start(self, step: int) -> None:
        """Begins to measure after this step (again after evaluation, saving or compilation)."""
        self._since, self._step, self._waited = self._clock(), step, 0.0

    def waited(self, seconds: float) -> None:
        """Adds time that the step spent waiting for its input."""
        self._waited += seconds

    def look(self, step: int, tokens: int) -> dict[str, float]:
        """Seconds a step, tokens per second, share of the time spent waiting for input."""
        seconds, steps = max(self._clock() - self._since, 1e-9), step - self._step
        share = self._waited / seconds
        self.start(step)
        if not steps:
            return {}
        return {
            "seconds_per_step": seconds / steps,
            "tokens_per_second": steps * tokens / seconds,
            "input_wait_share": share,
        }


class Progress:
    """Shows the run on `out` (standard error by default)."""

    def __init__(self, steps: int, out: TextIO | None = None):
        self.steps, self.out = steps, out or sys.stderr
        self.live = self.out.isatty()
        self._open = False

    def show(self, step: int, loss: float, speed: float | None, left: float | None) -> None:
        """Loss of a step, tokens/s, seconds left."""
        parts = [f"step {step}/{self.steps}", f"loss {loss:.4f}"]
        if speed is not None:
            parts.append(f"{speed:,.0f} tokens/s")
        if left is not None:
            parts.append(f"{duration(left)} left")
        self._line("  ".join(parts), live=self.live)

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._open:
            self._put("\r\x1b[K")
        self._open = False
        self._put(f"{text}\n")

    def close(self) -> None:
        """Ends the live line."""
        if self._open:
            self._put("\n")
        self._open = False

    def _line(self, text: str, live: bool) -> None:
        if not live:
            self._put(f"{text}\n")
            return
        self._open = True
        self._put("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1])

    def _put(self, text: str) -> None:
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
