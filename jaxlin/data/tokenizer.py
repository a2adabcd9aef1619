"""Text to token ids and back: bytes, or any `tokenizer.json` of the HF tokenizers library."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from jaxlin.config.errors import ConfigError, DataError
from jaxlin.config.paths import user_path
from jaxlin.data.decode import Bytes2Text, TextStream


@runtime_checkable
class Tokenizer(Protocol):
    """What the data and the generator need of a tokenizer. Ids are 0 ... size - 1."""

    name: str  # 'bytes' or the file
    size: int
    bos: int  # the separator: starts a document and ends the one before
    digest: str  # of everything that decides the ids
    exact_bytes: bool  # whether `token_bytes` add up to the bytes of any encoded text

    @property
    def token_bytes(self) -> np.ndarray:
        """int32 [size]: bytes of text that an id stands for; 0 for specials."""
        ...

    def encode(self, text: str | bytes) -> np.ndarray:
        """Ids of UTF-8 text, without separators."""
        ...

    def encode_many(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        """`encode` of each text."""
        ...

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The text of ids; specials, and ids beyond `size` (padding of the table), give nothing."""
        ...

    def decode_stream(self) -> TextStream:
        """A decoder that is fed id by id and never shows half a character."""
        ...


class ByteTokenizer:
    """Ids 0 ... 255 are the bytes of UTF-8; 256 separates documents."""

    name = "bytes"
    size = 257
    bos = 256
    digest = hashlib.sha256(b"bytes").hexdigest()
    exact_bytes = True

    @property
    def token_bytes(self) -> np.ndarray:
        return np.append(np.ones(256, np.int32), np.int32(0))

    def encode(self, text: str | bytes) -> np.ndarray:
        raw = text.encode() if isinstance(text, str) else text
        return np.frombuffer(raw, np.uint8).astype(np.uint16)

    def encode_many(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        return [self.encode(text) for text in texts]

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        ids = np.asarray(ids)
        return ids[ids < 256].astype(np.uint8).tobytes()

    def decode_stream(self) -> TextStream:
        return Bytes2Text(lambda i: bytes([i]) if i < 256 else b"")


def load_tokenizer(name: str) -> Tokenizer:
    """'bytes', or the tokenizer of a JSON file. Raises DataError."""
    if name == "bytes":
        return ByteTokenizer()
    path = user_path(name, DataError)
    if not path.is_file():
        hint = f"; try {path / 'tokenizer.json'}" if path.is_dir() else ""
        raise DataError(
            f"data.tokenizer: {name!r} is neither 'bytes' nor a tokenizer.json file{hint}"
        )
    need_library(f"data.tokenizer={name}")
    from jaxlin.data.hf_tokenizer import HFTokenizer

    return HFTokenizer(path)


def need_library(purpose: str) -> None:
    """Raises DataError when the tokenizers library, which is an extra, is not installed."""
    if importlib.util.find_spec("tokenizers") is None:
        raise DataError(f"{purpose} needs the tokenizers library: pip install 'jaxlin[hf]'")


def decode(tokenizer: Tokenizer, ids: Sequence[int] | np.ndarray) -> str:
    """The text of ids; bytes that are no UTF-8 become U+FFFD."""
    return tokenizer.decode_bytes(ids).decode("utf-8", errors="replace")


def model_vocab(asked: int | None, tokenizer: Tokenizer) -> int:
    """Rows of the embedding: `asked`, or the tokenizer's size rounded up to a multiple of 128 (of 8
    below 128: a task may have a handful of ids).

    Raises ConfigError when `asked` is too small for the tokenizer.
    """
    if asked is None:
        unit = 128 if tokenizer.size > 128 else 8
        return -(-tokenizer.size // unit) * unit
    if asked < tokenizer.size:
        raise ConfigError(
            f"model.vocab is {asked}, but tokenizer {tokenizer.name!r} has ids up to "
            f"{tokenizer.size - 1}; leave it unset or give at least {tokenizer.size}"
        )
    return asked
