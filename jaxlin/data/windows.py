"""Fixed-stride windows of a token stream, and what a model must know about each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int32

from jaxlin.config.errors import DataError
from jaxlin.data.batch import Batch
from jaxlin.data.stream import TokenStream


def full_windows(stream: TokenStream, context: int, batch: int = 1) -> int:
    """How many windows have `context` targets; the rest of the stream is shorter than one.

    Raises DataError when they are fewer than `batch`: rows of one batch would be the same.
    """
    count = max(0, len(stream) - 1) // context
    if not count:
        raise DataError(
            f"{stream.where}: {len(stream)} tokens are fewer than one window of {context + 1} "
            f"(context={context} and one more to predict); add text or lower context"
        )
    if count < batch:
        raise DataError(
            f"{stream.where}: {len(stream)} tokens are {count} windows of {context}, fewer than "
            f"one batch of {batch}; add text, or lower batch (to {count} or less) or context"
        )
    return count


def all_windows(stream: TokenStream, context: int) -> int:
    """How many windows cover every target once; the last may be shorter than `context`."""
    return -(-max(0, len(stream) - 1) // context)


def window(stream: TokenStream, index: int, context: int) -> Int32[np.ndarray, " t1"]:
    """The tokens index * context ... (index + 1) * context, both ends included: at most t + 1.

    None past the end of the stream.
    """
    begin = min(index * context, len(stream))
    return stream.read(begin, min(begin + context + 1, len(stream)))


def assemble(
    rows: Iterable[Int32[np.ndarray, " _"]], *, context: int, bos: int, reset: bool
) -> Batch:
    """Batch of windows of up to context + 1 tokens each; shorter ones are padded at the end."""
    rows = list(rows)
    shape = (len(rows), context)
    tokens, targets = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    real = np.zeros(shape, bool)
    for i, row in enumerate(rows):
        n = max(0, len(row) - 1)
        tokens[i, :n], targets[i, :n], real[i, :n] = row[:n], row[1 : n + 1], True
    segments, positions = documents_of(tokens, bos, reset)
    return Batch(tokens, targets, segments * real, positions * real, real.astype(np.float32))


def documents_of(
    tokens: Int32[np.ndarray, "b t"], bos: int, reset: bool
) -> tuple[Int32[np.ndarray, "b t"], Int32[np.ndarray, "b t"]]:
    """Segment ids from 1 and positions from 0; without `reset` a window is one segment."""
    starts = (tokens == bos) & reset
    starts[:, :1] = True
    place = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
    origin = np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    return np.cumsum(starts, axis=1, dtype=np.int32), (place - origin).astype(np.int32)
