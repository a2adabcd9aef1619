"""Configs of associative recall: pairs are shown, keys are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from jaxlin.config.registry import tasks
from jaxlin.config.tasks.base import TokenTask, needs
from jaxlin.config.types import PositiveFloat, PositiveInt

Vocab = Annotated[int, Field(ge=4)]
Percent = Annotated[int, Field(ge=0, le=100)]


@dataclass(frozen=True, kw_only=True)
class Pairs(TokenTask):
    """Id 0 is the blank; keys are 1 ... vocab / 2 - 1, values vocab / 2 ... vocab - 1."""

    vocab: Vocab = 64
    pairs: PositiveInt = 8  # of key and value; no key and no value comes twice

    @property
    def size(self) -> int:
        """Ids of the vocabulary."""
        return self.vocab

    def problems(self, length: int) -> list[str]:
        """What does not fit examples of this length."""
        keys = self.vocab // 2 - 1
        if keys >= self.pairs:
            return []
        return [
            f"vocab: {self.vocab} ids give {keys} keys, fewer than pairs={self.pairs}; nearest "
            f"that does: vocab={2 * self.pairs + 2}, or pairs={keys}"
        ]


@tasks.register("mqar", "jaxlin.data.tasks.recall:MQAR")
@dataclass(frozen=True, kw_only=True)
class MQAR(Pairs):
    """Multi-query associative recall: all pairs first, then queries at power-law gaps."""

    kind: Literal["mqar"] = "mqar"
    fewest: PositiveInt | None = None  # the number of pairs is drawn from here to `pairs`
    queries: PositiveInt | None = None  # None: each key once
    power_a: PositiveFloat = 0.01  # place i of the queries comes with weight i^(power_a - 1)
    noise: bool = False  # random values instead of blanks

    @property
    def asked(self) -> int:
        """Queries of an example with all pairs."""
        return self.queries or self.pairs

    def problems(self, length: int) -> list[str]:
        """What does not fit examples of this length."""
        found = super().problems(length)
        if self.fewest is not None and self.fewest > self.pairs:
            found.append(
                f"fewest: {self.fewest} is above pairs={self.pairs}; nearest: {self.pairs}"
            )
        fewest = self.fewest or self.pairs
        if self.noise and self.queries is not None and self.queries > fewest:
            found.append(
                f"queries: {self.queries} with noise would ask a key again after a value that is "
                f"not its own; nearest that does: {fewest}, or noise=false"
            )
        what = f"{self.pairs} pairs and {self.asked} queries"
        fewer = max(1, length // 4)
        return found + needs(
            length, 2 * (self.pairs + self.asked), what, f"pairs={fewer} with queries={fewer}"
        )


@tasks.register("needle_tokens", "jaxlin.data.tasks.recall:NeedleTokens")
@dataclass(frozen=True, kw_only=True)
class NeedleTokens(Pairs):
    """Recall by depth and length: pairs are spread over the example, one is asked for at its end.

    With the vocabulary of `mqar`, so that a model of that task can be scored.
    """

    kind: Literal["needle_tokens"] = "needle_tokens"
    depths: tuple[Percent, ...] = (0, 25, 50, 75, 100)  # where the pair that is asked for stands
    sizes: tuple[PositiveInt, ...] = ()  # lengths; none: a quarter, half and all of the context

    def lengths(self, context: int) -> tuple[int, ...]:
        """The columns of the map."""
        least = 2 * self.pairs + 1
        whole = self.length or context
        return self.sizes or tuple(n for n in (whole // 4, whole // 2, whole) if n >= least)

    def problems(self, length: int) -> list[str]:
        """What does not fit examples of this length."""
        found = super().problems(length)
        if not self.depths:
            found.append("depths: found none; allowed: percents, such as depths=[0, 50, 100]")
        what, fewer = f"{self.pairs} pairs and a query", f"pairs={max(1, (length - 1) // 2)}"
        shortest = min(self.sizes, default=length)
        return found + needs(shortest, 2 * self.pairs + 1, what, fewer)
