"""Writes packed folders: all of one, or nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from jaxlin.config.errors import DataError
from jaxlin.data.build import encoded
from jaxlin.data.document import Document
from jaxlin.data.packed_index import DOCUMENTS, INDEX, TOKENIZER, TOKENS, Index, to_json
from jaxlin.data.split import content_hash
from jaxlin.data.tokenizer import Tokenizer

Progress = Callable[[int, int, int], None]  # documents, tokens, bytes of text so far


class _Digested:
    """Writes to a file and hashes what is written."""

    def __init__(self, file: BinaryIO):
        self._file, self._digest = file, hashlib.sha256()

    def write(self, array: np.ndarray) -> None:
        data = array.tobytes()
        self._file.write(data)
        self._digest.update(data)

    def finish(self) -> str:
        """Brings the content to the disk; returns its digest."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._digest.hexdigest()


class _Counts(NamedTuple):
    documents: int = 0
    tokens: int = 0
    text_bytes: int = 0

    def plus(self, tokens: int, text_bytes: int) -> _Counts:
        """With one more document."""
        return _Counts(self.documents + 1, self.tokens + tokens, self.text_bytes + text_bytes)


def pack(
    documents: Iterable[Document], tokenizer: Tokenizer, out: Path, progress: Progress | None = None
) -> Index:
    """Packs `documents` into the new folder `out`, in constant memory.

    The folder appears by one rename when it is whole. Raises DataError when it exists, cannot be
    written, or there is no text.
    """
    if out.exists():
        raise DataError(f"{out} exists already and is not overwritten; remove it or name another")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = out.with_name(f".{out.name}.{os.getpid()}")
        work.mkdir()
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from error
    try:
        index = _write(documents, tokenizer, work, progress)
        work.rename(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return index


def _write(
    documents: Iterable[Document], tokenizer: Tokenizer, work: Path, progress: Progress | None
) -> Index:
    dtype = "uint16" if tokenizer.size <= 2**16 else "uint32"
    counts = _Counts()
    with (work / TOKENS).open("xb") as tokens_file, (work / DOCUMENTS).open("xb") as table_file:
        tokens, table = _Digested(tokens_file), _Digested(table_file)
        for document, ids in encoded(documents, tokenizer):
            counts = counts.plus(len(ids), len(document.text))
            tokens.write(ids.astype(np.dtype(dtype).newbyteorder("<")))
            table.write(np.array([counts.tokens, content_hash(ids)], "<u8"))
            if progress:
                progress(*counts)
        tokens_sha256, documents_sha256 = tokens.finish(), table.finish()
    if not counts.tokens:
        raise DataError("there is no text to pack; every document is empty")
    if tokenizer.name != "bytes":
        shutil.copyfile(tokenizer.name, work / TOKENIZER)
    index = Index(
        dtype=dtype,
        documents=counts.documents,
        tokens=counts.tokens,
        text_bytes=counts.text_bytes,
        vocab=tokenizer.size,
        bos=tokenizer.bos,
        tokenizer="bytes" if tokenizer.name == "bytes" else TOKENIZER,
        tokenizer_sha256=tokenizer.digest,
        tokens_sha256=tokens_sha256,
        documents_sha256=documents_sha256,
    )
    (work / INDEX).write_bytes(to_json(index))
    return index
