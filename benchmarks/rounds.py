"""Timing in rounds in which the calls take turns, so that a busy machine disturbs all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from statistics import median
from typing import Any, NamedTuple


class Times(NamedTuple):
    """Milliseconds by round: on the clock, and of all threads of the process together."""

    wall: list[float]
    cpu: list[float]


def alternate[Key: Hashable](
    calls: Mapping[Key, Callable[[], Any]], rounds: int, seconds: float
) -> dict[Key, Times]:
    """The times of each call, which in each round is made twice; the second is counted.

    The first stands between it and what the call before left behind: memory that is given back
    after its results are there, and other data in the caches. A call that has had `seconds` in all
    sits out later rounds; each is in at least the first two.
    """
    times = {key: Times([], []) for key in calls}
    for turn in range(rounds):
        for key, call in calls.items():
            if turn < 2 or sum(times[key].wall) < 1e3 * seconds:
                call()
                begin = time.perf_counter(), time.process_time()
                call()
                times[key].wall.append(1e3 * (time.perf_counter() - begin[0]))
                times[key].cpu.append(1e3 * (time.process_time() - begin[1]))
    return times


def ratio(times: list[float], ours: list[float]) -> float:
    """The median over rounds of times / ours."""
    return median(t / o for t, o in zip(times, ours, strict=False))
