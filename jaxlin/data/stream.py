"""A token stream: documents one after the other, each led by the separator token.

The separators are not stored: a stream is a list of spans of a token array, which may be a memory
map, so that train and held-out parts are views of one file and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from jaxlin.config.errors import DataError


class TokenStream:
    """BOS d_1 BOS d_2 ... BOS d_n BOS, where d_i is tokens[spans[i, 0] : spans[i, 1]].

    `tokens` holds uint16 or uint32 ids below `size`; `where` names the source in errors.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        spans: Int64[np.ndarray, "n 2"],
        *,
        bos: int,
        size: int,
        where: str,
    ):
        self.tokens, self.spans = tokens, spans
        self.bos, self.size, self.where = bos, size, where

    @cached_property
    def starts(self) -> Int64[np.ndarray, " n1"]:
        """Place of each document's BOS in the stream, and of the BOS that closes the last one."""
        lengths = self.spans[:, 1] - self.spans[:, 0] + 1
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    def __len__(self) -> int:
        """Tokens including separators; 0 when there is no document."""
        return int(self.starts[-1]) + 1 if len(self.spans) else 0

    def read(self, begin: int, end: int) -> Int32[np.ndarray, " t"]:
        """The tokens begin ... end-1. Raises DataError on an id outside the vocabulary."""
        out = np.full(end - begin, self.bos, np.int32)
        i = int(np.searchsorted(self.starts, begin, side="right")) - 1
        while i < len(self.spans) and self.starts[i] < end:
            self._copy(i, begin, end, out)
            i += 1
        if len(out) and (out.max() >= self.size or out.min() < 0):
            bad = int(out[(out >= self.size) | (out < 0)][0])
            raise DataError(
                f"{self.where}: token id {bad} near token {begin} is outside the vocabulary of "
                f"{self.size}; the tokens were made by another tokenizer: pack the text again"
            )
        return out

    def _copy(self, i: int, begin: int, end: int, out: np.ndarray) -> None:
        """Copies what document i has in begin ... end-1 to its place in `out`."""
        first = int(self.starts[i]) + 1  # place of the document's first token
        low, high = max(first, begin), min(int(self.starts[i + 1]), end)
        if low < high:
            offset = int(self.spans[i, 0]) - first
            out[low - begin : high - begin] = self.tokens[low + offset : high + offset]

    def documents(self) -> Iterator[np.ndarray]:
        """The tokens of each document, without separators."""
        for begin, end in self.spans:
            yield self.tokens[int(begin) : int(end)]

    def describe(self) -> dict[str, Any]:
        """Counts for a person."""
        return {"documents": len(self.spans), "tokens": len(self)}
