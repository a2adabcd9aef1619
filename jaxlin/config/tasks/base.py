"""What all tasks have: how long an example is, and how many are scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxlin.config.plain import text
from jaxlin.config.types import PositiveInt


@dataclass(frozen=True, kw_only=True)
class TokenTask:
    """A task over a small vocabulary of its own, which a run can be trained on; `size` ids."""

    reads: ClassVar[str] = "tokens"
    kind: str
    length: PositiveInt | None = None  # tokens an example; None: the run's context
    examples: PositiveInt = 256  # that are held out and scored

    @property
    def size(self) -> int:
        """Ids of the vocabulary."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """The name in records, as long as no other task of the run has it."""
        return self.kind

    def lengths(self, context: int) -> tuple[int, ...]:
        """Lengths at which it is scored in a run of this context."""
        return (self.length or context,)

    def problems(self, length: int) -> list[str]:
        """What does not fit examples of this length, as `field: reason` lines."""
        return []


@dataclass(frozen=True, kw_only=True)
class TextTask:
    """A task in words, scored by what a model of text writes after a prompt."""

    reads: ClassVar[str] = "text"
    kind: str
    length: PositiveInt | None = None  # tokens of prompt and answer; None: the run's context
    examples: PositiveInt = 32
    haystack: str = "synthetic"  # or a text file, or a folder of them: .txt, .txt.gz

    @property
    def label(self) -> str:
        """The name in records, as long as no other task of the run has it."""
        return self.kind

    def lengths(self, context: int) -> tuple[int, ...]:
        """Lengths at which it is scored in a run of this context."""
        return (self.length or context,)

    def problems(self, length: int) -> list[str]:
        """What does not fit examples of this length, as `field: reason` lines."""
        return []


def needs(length: int, least: int, what: str, change: str) -> list[str]:
    """The problem of a length that is too short for `what`."""
    if length >= least:
        return []
    return [
        f"length: {what} need at least {least} tokens, found {length} (the context, where no "
        f"length is set); nearest that does: {least}, or {change}"
    ]


def names(tasks: Iterable[Any]) -> list[str]:
    """A name for each task: its label, or all that is set in it where labels are the same."""
    tasks = list(tasks)
    labels = Counter(task.label for task in tasks)
    return [task.label if labels[task.label] == 1 else text(task) for task in tasks]
