"""A corpus: what is trained on, what is held out, and how both are recognised later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jaxlin.config.errors import ConfigError
from jaxlin.data import feed
from jaxlin.data.batch import Batch
from jaxlin.data.batches import Sampler, eval_batches
from jaxlin.data.stream import TokenStream
from jaxlin.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class Corpus:
    """Two token streams of one tokenizer: the feed of a run on text (jaxlin.data.feed).

    `fingerprint` is JSON; see jaxlin.data.fingerprint. `description` is a line for a person.
    """

    train: TokenStream
    held_out: TokenStream
    tokenizer: Tokenizer
    fingerprint: dict[str, Any]
    description: str
    reset: bool = True  # states and attention start anew at each document

    @property
    def held_out_name(self) -> str:
        """Where the held-out text is from."""
        return self.held_out.where

    def sampler(self, *, seed: int, batch: int, context: int) -> Sampler:
        """Windows of the training text. Raises DataError when they are fewer than a batch."""
        return Sampler(self.train, seed=seed, batch=batch, context=context, reset=self.reset)

    def held_out_batches(
        self, batch: int, context: int, limit: int | None = None, *, rows: slice = slice(None)
    ) -> Iterator[Batch]:
        """See `eval_batches`."""
        return eval_batches(self.held_out, batch, context, limit, rows=rows, reset=self.reset)

    def prompt(self, tokens: int) -> list[int]:
        """The start of the held-out text."""
        return self.held_out.read(0, min(tokens, len(self.held_out))).tolist()

    def held_out_text(self) -> Iterator[bytes]:
        """The held-out documents as text."""
        return map(self.tokenizer.decode_bytes, self.held_out.documents())

    def train_text(self) -> Iterator[bytes]:
        """The training documents as text."""
        return map(self.tokenizer.decode_bytes, self.train.documents())


def load(config: Any) -> Corpus:
    """The corpus of a data config that is text. Raises DataError, ConfigError for a task."""
    found = feed.load(config)
    if not isinstance(found, Corpus):
        raise ConfigError(
            f"data: {config.kind!r} holds no text, which this needs; allowed: text, packed, stdlib"
        )
    return found
