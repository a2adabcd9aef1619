"""A corpus: what is trained on, what is held out, and how both are recognised later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jaxlin.config.registry import sources
from jaxlin.data.stream import TokenStream
from jaxlin.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class Corpus:
    """Two token streams of one tokenizer.

    `fingerprint` is JSON; see jaxlin.data.fingerprint. `description` is a line for a person.
    """

    train: TokenStream
    held_out: TokenStream
    tokenizer: Tokenizer
    fingerprint: dict[str, Any]
    description: str

    def held_out_text(self) -> Iterator[bytes]:
        """The held-out documents as text."""
        return map(self.tokenizer.decode_bytes, self.held_out.documents())

    def train_text(self) -> Iterator[bytes]:
        """The training documents as text."""
        return map(self.tokenizer.decode_bytes, self.train.documents())


def load(config: Any) -> Corpus:
    """The corpus of a data config of any registered kind. Raises DataError."""
    return sources.target(config.kind)(config)
