"""Where the wall time of a run goes, and which steps were done twice.

The host runs ahead of the device: while a step computes, the host makes the next batch ready and
reports the step before. A phase is therefore what the host was doing or waiting for, not what the
device was doing:

    compile  the first call of the step: tracing and compiling (a first evaluation compiles in eval)
    input    waiting for the next batch and handing it to the devices; 0 if it is ready in time
    step     waiting for a step's result, and starting the next
    save     starting a checkpoint and waiting for the last; writing in the background is free
    eval     held-out loss, statistics and samples, with the compilation of each
    other    the rest: reading data, restoring, logging
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

PHASES = ("compile", "input", "step", "save", "eval", "other")


class Phases:
    """Seconds by phase since it was made; every instant belongs to one, the innermost."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._since, self._now = clock, clock(), "other"
        self._seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """What happens inside belongs to `phase`."""
        outer = self._switch(phase)
        try:
            yield
        finally:
            self._switch(outer)

    def seconds(self) -> dict[str, float]:
        """So far."""
        self._switch(self._now)
        return {phase: round(spent, 6) for phase, spent in self._seconds.items()}

    def _switch(self, phase: str) -> str:
        now, before = self._clock(), self._now
        self._seconds[before] += now - self._since
        self._since, self._now = now, phase
        return before


def lost_steps(lines: Iterable[Mapping[str, Any]]) -> int:
    """Steps that were done and recorded, and done again after a restart.

    `lines`: all records in the order of writing, with the starts. A start at step n takes back what
    was recorded after n; steps after the last record of a killed run are not known and not counted.
    """
    return sum(lost for _, lost in attempts(lines))


def attempts(
    lines: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[list[Mapping[str, Any]], int]]:
    """For each start of a run: the records that stand, and how many of its steps were lost."""
    own: list[Mapping[str, Any]] = []
    for record in lines:
        if "rewound_from" in record:  # the same start, told to take another way
            continue
        if record["kind"] == "start":
            if own:
                yield _kept(own, record["step"])
            own = [record]
        else:
            own.append(record)
    if own:
        yield own, 0


def _kept(records: list[Mapping[str, Any]], restart: int) -> tuple[list[Mapping[str, Any]], int]:
    reached = max(record["step"] for record in records)
    return [r for r in records if r["step"] <= restart], max(0, reached - restart)
