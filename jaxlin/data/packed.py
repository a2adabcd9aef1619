"""A folder of tokens ready to be memory-mapped, written by `jaxlin data pack`.

tokens.bin      the ids of all documents, uint16 or uint32, little-endian, without separators
documents.bin   uint64 [n, 2], little-endian: where each document ends, hash of its content
index.json      counts, digests and the tokenizer of the two
tokenizer.json  a copy of the tokenizer, unless it is 'bytes'
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt64

from jaxlin.config.errors import DataError
from jaxlin.config.paths import inside, user_path
from jaxlin.config.sources.text import Packed
from jaxlin.data.corpus import Corpus
from jaxlin.data.fingerprint import of_source
from jaxlin.data.packed_index import DOCUMENTS, INDEX, TOKENIZER, TOKENS, Index, read_index
from jaxlin.data.split import split
from jaxlin.data.stream import TokenStream
from jaxlin.data.tokenizer import Tokenizer, load_tokenizer

# Tokens of larger folders are not read through at every start: their ids are checked batch by
# batch, and the digests of the index are believed.
MAX_VERIFIED = 2**30  # bytes
BLOCK = 2**24


class Folder(NamedTuple):
    """A packed folder that passed its checks."""

    tokens: np.ndarray  # memory map
    spans: Int64[np.ndarray, "n 2"]
    hashes: UInt64[np.ndarray, " n"]
    tokenizer: Tokenizer
    index: Index


def load(config: Packed) -> Corpus:
    """The corpus of one or two packed folders, memory-mapped. Raises DataError."""
    if not config.path:
        raise DataError("data.path is empty; give a folder written by  jaxlin data pack")
    folder = open_folder(user_path(config.path, DataError))
    held = open_folder(user_path(config.eval_path, DataError)) if config.eval_path else folder
    if held.tokenizer.digest != folder.tokenizer.digest:
        raise DataError(
            f"{config.path} and {config.eval_path} were packed with different tokenizers; pack "
            "both with the same one"
        )
    if config.eval_path:
        train_spans, held_spans, how = folder.spans, held.spans, config.eval_path
    else:
        train_spans, held_spans, how = split(folder.spans, folder.hashes, config.held_out)
    files = {"train": _entry(folder.index)}
    if config.eval_path:
        files["eval"] = _entry(held.index)
    tokenizer = folder.tokenizer
    common = {"bos": tokenizer.bos, "size": tokenizer.size}
    return Corpus(
        train=TokenStream(folder.tokens, train_spans, where=str(config.path), **common),
        held_out=TokenStream(
            held.tokens, held_spans, where=f"{config.eval_path or config.path} (held out)", **common
        ),
        tokenizer=tokenizer,
        fingerprint=of_source(files, tokenizer, config.held_out),
        description=f"{folder.index.documents} documents, {folder.index.tokens} tokens from "
        f"{config.path}; held out: {how}",
        reset=config.reset,
    )


def _entry(index: Index) -> dict[str, object]:
    return {
        "documents": index.documents,
        "bytes": index.text_bytes,
        "sha256": index.tokens_sha256,
        "documents_sha256": index.documents_sha256,
    }


def open_folder(root: Path) -> Folder:
    """Opens and verifies a packed folder. Raises DataError naming file and fix."""
    index = read_index(root)
    tokenizer = _tokenizer(root, index)
    tokens = _map(root / TOKENS, index.dtype, index.tokens)
    table = _map(root / DOCUMENTS, "uint64", 2 * index.documents).reshape(-1, 2)
    _check_digest(root / DOCUMENTS, index.documents_sha256)
    ends = np.ascontiguousarray(table[:, 0])
    _check_ends(root / DOCUMENTS, ends, index.tokens)
    if tokens.nbytes <= MAX_VERIFIED:
        _check_ids(root / TOKENS, tokens, tokenizer)
        _check_digest(root / TOKENS, index.tokens_sha256)
    ends = ends.astype(np.int64)
    spans = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)
    return Folder(tokens, spans, np.ascontiguousarray(table[:, 1]), tokenizer, index)


def _tokenizer(root: Path, index: Index) -> Tokenizer:
    own = index.tokenizer != "bytes"
    tokenizer = load_tokenizer(str(inside(root, TOKENIZER, DataError)) if own else "bytes")
    expected = (index.vocab, index.bos, index.tokenizer_sha256)
    if (tokenizer.size, tokenizer.bos, tokenizer.digest) != expected:
        raise DataError(
            f"{root / TOKENIZER}: not the tokenizer that {INDEX} describes (size {tokenizer.size}, "
            f"separator {tokenizer.bos}; the index says {index.vocab} and {index.bos}); pack again"
        )
    return tokenizer


def _map(path: Path, dtype: str, count: int) -> np.ndarray:
    inside(path.parent, path.name, DataError)
    size, expected = path.stat().st_size, count * np.dtype(dtype).itemsize
    if size != expected:
        raise DataError(
            f"{path}: {size} bytes, but {INDEX} says {count} items of {dtype}, which are "
            f"{expected} bytes; the file is truncated or belongs to another index: pack again"
        )
    try:
        return np.memmap(path, np.dtype(dtype).newbyteorder("<"), mode="r")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _check_digest(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise DataError(
            f"{path}: its content is not what {INDEX} describes (sha256 {found[:12]}..., expected "
            f"{expected[:12]}...); it was changed after packing: pack again"
        )


def _check_ends(path: Path, ends: UInt64[np.ndarray, " n"], tokens: int) -> None:
    wrong = np.flatnonzero(ends[1:] < ends[:-1])
    if len(wrong) or int(ends[-1]) != tokens:
        where = f"document {int(wrong[0]) + 1}" if len(wrong) else "the last document"
        raise DataError(
            f"{path}: the end of {where} does not fit {tokens} tokens in rising order; pack again"
        )


def _check_ids(path: Path, tokens: np.ndarray, tokenizer: Tokenizer) -> None:
    for begin in range(0, len(tokens), BLOCK):
        block = tokens[begin : begin + BLOCK]
        if block.max() >= tokenizer.size:
            at = begin + int(np.argmax(block >= tokenizer.size))
            raise DataError(
                f"{path}: token {at} has id {int(tokens[at])}, outside the vocabulary of "
                f"{tokenizer.size}; pack again with the right tokenizer"
            )
