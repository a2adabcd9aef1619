"""Configs of state tracking: the product of all group elements seen so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxlin.config.registry import tasks
from jaxlin.config.tasks.base import TokenTask

ORDERS = {
    "z2": 2, "z3": 3, "z4": 4, "z5": 5, "z6": 6,
    "s3": 6, "a4": 12, "s4": 24, "a5": 60, "s5": 120,
}  # fmt: skip


@tasks.register("group", "jaxlin.data.tasks.states:Words")
@dataclass(frozen=True, kw_only=True)
class Group(TokenTask):
    """The word problem of a finite group: z cyclic, s symmetric, a alternating."""

    kind: Literal["group"] = "group"
    of: Literal["z2", "z3", "z4", "z5", "z6", "s3", "a4", "s4", "a5", "s5"] = "s5"

    @property
    def size(self) -> int:
        """Ids of the vocabulary: the blank and the elements."""
        return ORDERS[self.of] + 1


@tasks.register("parity", "jaxlin.data.tasks.states:Words")
@dataclass(frozen=True, kw_only=True)
class Parity(TokenTask):
    """Whether the number of ones so far is odd: the word problem of z2."""

    of: ClassVar[str] = "z2"
    kind: Literal["parity"] = "parity"

    @property
    def size(self) -> int:
        """Ids of the vocabulary: the blank, zero and one."""
        return ORDERS[self.of] + 1
