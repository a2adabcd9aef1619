"""Config of the needle map: one sentence hidden in a text, by depth and by length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.registry import tasks
from jaxlin.config.tasks.base import TextTask
from jaxlin.config.tasks.recall import Percent
from jaxlin.config.types import PositiveInt


@tasks.register("needle", "jaxlin.data.tasks.needle:Needle")
@dataclass(frozen=True, kw_only=True)
class Needle(TextTask):
    """A number to be found again, at each depth of a text of each length."""

    kind: Literal["needle"] = "needle"
    depths: tuple[Percent, ...] = (0, 25, 50, 75, 100)
    sizes: tuple[PositiveInt, ...] = ()  # lengths; none: a quarter, half and all of the context

    def lengths(self, context: int) -> tuple[int, ...]:
        """The columns of the map."""
        whole = self.length or context
        return self.sizes or (max(1, whole // 4), max(1, whole // 2), whole)

    def problems(self, length: int) -> list[str]:
        """What does not fit examples of this length."""
        if self.depths:
            return []
        return ["depths: found none; allowed: percents, such as depths=[0, 50, 100]"]
