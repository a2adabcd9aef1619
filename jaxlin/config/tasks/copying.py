"""Configs of copying: a string that was shown has to be written again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from jaxlin.config.registry import tasks
from jaxlin.config.tasks.base import TokenTask, needs
from jaxlin.config.types import PositiveInt

Symbols = Annotated[int, Field(ge=2)]
SPECIAL = 2  # ids before the symbols: the blank and the mark that asks


@tasks.register("copy", "jaxlin.data.tasks.copying:Copy")
@dataclass(frozen=True, kw_only=True)
class Copy(TokenTask):
    """Symbols, then blanks, then a mark, after which the symbols are to be written in order."""

    kind: Literal["copy"] = "copy"
    symbols: Symbols = 16
    tokens: PositiveInt = 8  # to be copied
    selective: bool = False  # they stand at random places among the blanks

    @property
    def size(self) -> int:
        """Ids of the vocabulary."""
        return self.symbols + SPECIAL

    def problems(self, length: int) -> list[str]:
        """What does not fit examples of this length."""
        what, fewer = f"{self.tokens} tokens and their copy", f"tokens={max(1, length // 2)}"
        return needs(length, 2 * self.tokens, what, fewer)


@tasks.register("induction", "jaxlin.data.tasks.copying:Induction")
@dataclass(frozen=True, kw_only=True)
class Induction(TokenTask):
    """Random symbols with one mark among them; after the mark at the end, the symbol that followed
    the first one."""

    kind: Literal["induction"] = "induction"
    symbols: Symbols = 16

    @property
    def size(self) -> int:
        """Ids of the vocabulary."""
        return self.symbols + SPECIAL

    def problems(self, length: int) -> list[str]:
        """What does not fit examples of this length."""
        return needs(length, 3, "two marks and a symbol", "a longer context")
