"""How states travel: the method, its factors, the format on the wire."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

AUTO = "auto"


class Exchange(NamedTuple):
    """How states travel.

    method: "auto" (chosen from bytes, devices and chip), "all_gather" (LASP-2: one collective of
        ranks - 1 states), "hierarchical" (one for each of `factors`), "log_step" (permutations of
        one state over doubling distances), "ring" (LASP-1: ranks - 1 of them, one after the
        other), "all_scan" (ZeCO: one state along the line in blocks, by remote DMA; TPU alone, and
        never by "auto"), "psum" (the sum of all states, of bidirectional attention) or "off"
        (nothing travels: the control of experiments).
    factors: of the number of devices, the fastest varying first; None: two of about equal size.
    wire: "bfloat16", or None: as computed. Dense transitions and their states are never rounded.
    blocks: of all_scan; None: as many as the chip's links make the fastest.
    interpret: run all_scan in Pallas' TPU interpreter, on any platform: True, or its parameters.
        Has no effect where no kernel runs.
    """

    method: str = AUTO
    factors: tuple[int, ...] | None = None
    wire: str | None = None
    blocks: int | None = None
    interpret: Any = False


BEST = Exchange()


def expect_how(who: str, how: Any) -> None:
    """Raises ValueError unless `how` is an Exchange, and its factors, if any, whole numbers."""
    if not isinstance(how, Exchange):
        raise ValueError(f"{who}: how is {how!r}; wanted an Exchange, such as Exchange('ring')")
    factors = how.factors
    if factors is not None and not (
        isinstance(factors, tuple | list) and all(isinstance(n, int) for n in factors)
    ):
        raise ValueError(f"{who}: factors is {factors!r}; wanted whole numbers, such as (4, 2)")


def two_factors(ranks: int) -> tuple[int, ...]:
    """(fast, slow), as equal as can be; a single one where ranks is a prime."""
    slow = max(n for n in range(1, math.isqrt(ranks) + 1) if ranks % n == 0)
    return (ranks // slow, slow) if slow > 1 else (ranks,)
