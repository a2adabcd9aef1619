"""What a run does about steps that go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from jaxlin.config.types import NonNegativeInt, PositiveFloat

# Losses that the state of a run remembers; a constant, so that another window fits any checkpoint.
RING = 1024
Window = Annotated[int, Field(ge=2, le=RING)]


@dataclass(frozen=True, kw_only=True)
class Spike:
    """A loss above mean + sigmas * std of the last `window` finite losses."""

    action: Literal["off", "log", "stop", "skip", "rewind"] = "log"  # as Guard.nonfinite
    sigmas: PositiveFloat = 6.0
    window: Window = 128  # steps


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A step whose loss or gradient is not finite changes nothing but the count of steps.

    stop: the run ends with exit code 5. skip: it goes on with the next batch, at most `max_skips`
    times in a row. rewind: it goes back to the last regular checkpoint and from there takes the
    batches that follow the bad one, at most `max_rewinds` times. `hang`: what happens once no step
    was finished for max(hang_seconds, 20 * the median step); exit ends with code 75.
    """

    nonfinite: Literal["stop", "skip", "rewind"] = "stop"
    max_skips: NonNegativeInt = 3
    max_rewinds: NonNegativeInt = 3
    spike: Spike = field(default_factory=Spike)
    hang: Literal["off", "dump", "exit"] = "dump"  # dump: stacks of all threads to stacks.txt
    hang_seconds: PositiveFloat = 300.0
