"""Documents to a corpus in memory: tokenise, split, fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from jaxtyping import Int64

from jaxlin.config.errors import DataError
from jaxlin.data.corpus import Corpus
from jaxlin.data.document import Document
from jaxlin.data.fingerprint import FileDigests, of_source
from jaxlin.data.split import content_hash, split
from jaxlin.data.stream import TokenStream
from jaxlin.data.tokenizer import Tokenizer

GROUP = 64  # documents that a tokenizer gets at one time


def encoded(
    documents: Iterable[Document], tokenizer: Tokenizer
) -> Iterator[tuple[Document, np.ndarray]]:
    """Each document with its token ids."""
    documents = iter(documents)
    while group := list(islice(documents, GROUP)):
        yield from zip(group, tokenizer.encode_many([d.text for d in group]), strict=True)


def build(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    held_out: float,
    *,
    where: str,
    reset: bool = True,
) -> Corpus:
    """The corpus of `documents`, split by their own marks or by `held_out`. Raises DataError."""
    files, arrays, marks = FileDigests(), [], []
    for document, ids in encoded(documents, tokenizer):
        files.add(document)
        arrays.append(ids)
        marks.append(document.held_out)
    if not arrays:
        raise DataError(f"{where}: no text in it; every document is empty")
    spans = spans_of([len(ids) for ids in arrays])
    if None in marks:
        hashes = np.array([content_hash(ids) for ids in arrays], np.uint64)
        train, held, how = split(spans, hashes, held_out)
    else:
        chosen = np.array(marks, bool)
        train, held = spans[~chosen], spans[chosen]
        how = f"{int(chosen.sum())} of {len(marks)} documents, by file"
    tokens = np.concatenate(arrays)
    return Corpus(
        train=TokenStream(tokens, train, bos=tokenizer.bos, size=tokenizer.size, where=where),
        held_out=TokenStream(
            tokens, held, bos=tokenizer.bos, size=tokenizer.size, where=f"{where} (held out)"
        ),
        tokenizer=tokenizer,
        fingerprint=of_source(files.entries(), tokenizer, held_out),
        description=f"{len(spans)} documents, {len(tokens)} tokens from {where}; held out: {how}",
        reset=reset,
    )


def spans_of(lengths: list[int]) -> Int64[np.ndarray, "n 2"]:
    """Begin and end of each document in the concatenated tokens."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.stack([ends - np.asarray(lengths), ends], axis=1)
