"""Counting the whitespace-separated words of a text that comes in pieces."""

from __future__ import annotations

from collections.abc import Iterable

from jaxlin.data.batch import Batch
from jaxlin.data.tokenizer import Tokenizer


def count_words(pieces: Iterable[str]) -> int:
    """Words of the pieces put together; a word may span pieces."""
    words, inside = 0, False
    for piece in pieces:
        if not piece:
            continue
        words += len(piece.split()) - (inside and not piece[0].isspace())
        inside = not piece[-1].isspace()
    return words


def target_words(batches: Iterable[Batch], tokenizer: Tokenizer) -> int:
    """Words of the text that targets of weight > 0 spell, row after row; separators end words."""
    return count_words(_texts(batches, tokenizer))


def _texts(batches: Iterable[Batch], tokenizer: Tokenizer) -> Iterable[str]:
    stream = tokenizer.decode_stream()
    for batch in batches:
        for token in batch.targets[batch.weights > 0].tolist():
            if token == tokenizer.bos:
                yield stream.flush() + "\n"
            else:
                yield stream.push(token)
    yield stream.flush()
