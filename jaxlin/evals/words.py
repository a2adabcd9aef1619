"""Counting the whitespace-separated words of a text that is known as tokens."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from jaxlin.data.batch import Batch
from jaxlin.data.tokenizer import Tokenizer, decode


def target_words(batches: Iterable[Batch], tokenizer: Tokenizer) -> int:
    """Words of the text that targets of weight > 0 spell, row after row; separators end words.

    0 where the ids stand for no text.
    """
    if not tokenizer.token_bytes.any():
        return 0
    parts = [batch.targets[batch.weights > 0] for batch in batches]
    ids = np.concatenate([np.zeros(0, np.int32), *parts])
    documents = np.split(ids, np.flatnonzero(ids == tokenizer.bos))
    return sum(len(decode(tokenizer, document).split()) for document in documents)
