"""What a run is fed with, be it text or a task: batches by step, and those that are held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from jaxlin.config.registry import sources
from jaxlin.data.batch import Batch
from jaxlin.data.tokenizer import Tokenizer


@runtime_checkable
class Sampler(Protocol):
    """The training batches of a seed and a size."""

    def batch_at(self, step: int, rows: slice = slice(None)) -> Batch:
        """Rows `rows` of the batch of `step`: a function of (seed, step) alone."""
        ...


@runtime_checkable
class Feed(Protocol):
    """Training and held-out batches over the ids of one tokenizer."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def fingerprint(self) -> dict[str, Any]:
        """JSON that differs where the batches of a seed and a size do."""
        ...

    @property
    def description(self) -> str:
        """A line for a person."""
        ...

    @property
    def held_out_name(self) -> str:
        """What is held out, in a few words."""
        ...

    @property
    def reset(self) -> bool:
        """Whether states and attention start anew at each document."""
        ...

    def sampler(self, *, seed: int, batch: int, context: int) -> Sampler:
        """Raises DataError where there is too little for one batch."""
        ...

    def held_out_batches(
        self, batch: int, context: int, limit: int | None = None, *, rows: slice = slice(None)
    ) -> Iterator[Batch]:
        """At most `limit` batches of one shape, each held-out target once; weights 0 pad."""
        ...

    def prompt(self, tokens: int) -> list[int]:
        """At most so many tokens of what is held out, for a model to go on from."""
        ...


def load(config: Any) -> Feed:
    """The feed of a data config of any registered kind. Raises DataError."""
    return sources.target(config.kind)(config)
