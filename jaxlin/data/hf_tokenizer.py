"""A `tokenizer.json` of the HF tokenizers library, checked before it is believed."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer as Tokens
from tokenizers.decoders import DecodeStream

from jaxlin.config import strictjson
from jaxlin.config.errors import DataError
from jaxlin.data.byte_level import byte_of_character
from jaxlin.data.decode import Bytes2Text, TextStream

MAX_FILE = 2**28  # bytes
MAX_ID = 2**24
SEPARATORS = (
    "<|endoftext|>", "<|begin_of_text|>", "<s>", "<bos>", "[BOS]", "<|bos|>", "<|im_start|>",
    "</s>", "<eos>", "[EOS]", "[CLS]",
)  # fmt: skip


class HFTokenizer:
    """The tokenizer of a file; specials are never read from text. Raises DataError."""

    def __init__(self, path: Path):
        self.name = str(path)
        text = _read(path)
        self.digest = hashlib.sha256(text).hexdigest()
        spec = _parse(text, path)
        self._tokens = _build(text, path)
        vocabulary = self._tokens.get_vocab(with_added_tokens=True)
        self.size = _size(vocabulary, path)
        self.bos = _separator(vocabulary, path)
        self._added = set(self._tokens.get_added_tokens_decoder())
        self._pieces = _pieces(vocabulary, self._added, self.size, spec)
        self._lengths = np.array([len(piece) for piece in self._pieces], np.int32)
        self._byte_level = _is_byte_level(spec)
        self.exact_bytes = self._byte_level and not spec.get("normalizer") and not _adds_space(spec)

    @property
    def token_bytes(self) -> np.ndarray:
        return self._lengths

    def encode(self, text: str | bytes) -> np.ndarray:
        return self.encode_many([text.encode() if isinstance(text, str) else text])[0]

    def encode_many(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        dtype = np.uint16 if self.size <= 2**16 else np.uint32
        strings = [text.decode() for text in texts]
        encodings = self._tokens.encode_batch_fast(strings, add_special_tokens=False)
        return [self._checked(np.array(e.ids, np.uint32)).astype(dtype) for e in encodings]

    def _checked(self, ids: np.ndarray) -> np.ndarray:
        if (ids == self.bos).any():
            token = self._tokens.id_to_token(self.bos)
            raise DataError(
                f"{self.name}: the text itself contains the separator {token!r}, which this "
                "tokenizer does not mark as special; remove it from the text"
            )
        return ids

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        known = [int(i) for i in np.asarray(ids) if i < self.size]
        if self._byte_level:
            return b"".join(self._pieces[i] for i in known)
        return self._tokens.decode(known, skip_special_tokens=True).encode()

    def decode_stream(self) -> TextStream:
        if self._byte_level:
            return Bytes2Text(lambda i: self._pieces[i] if i < self.size else b"")
        return _LibraryStream(self._tokens, self.size)


class _LibraryStream:
    """A text stream for decoders whose tokens are no plain bytes."""

    def __init__(self, tokens: Tokens, size: int):
        self._tokens, self._size = tokens, size
        self._stream = DecodeStream(skip_special_tokens=True)

    def push(self, token: int) -> str:
        if token >= self._size:
            return ""
        return self._stream.step(self._tokens, int(token)) or ""

    def flush(self) -> str:
        return ""


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _parse(text: bytes, path: Path) -> dict[str, Any]:
    try:
        spec = strictjson.parse(text, "the content", DataError, MAX_FILE)
    except DataError as error:
        raise _malformed(path, str(error)) from error
    if not isinstance(spec, dict) or not isinstance(spec.get("model"), dict):
        raise _malformed(path, "there is no object under 'model'")
    return spec


def _build(text: bytes, path: Path) -> Tokens:
    """Without truncation, padding, specials in text and random merges: ids depend on text alone."""
    try:
        tokens = Tokens.from_buffer(text)
    except Exception as error:
        raise _malformed(path, str(error)) from error
    except BaseException as error:
        # A panic of the library is no Exception; interrupts must pass.
        if type(error).__name__ != "PanicException":
            raise
        raise _malformed(path, str(error)) from error
    tokens.no_truncation()
    tokens.no_padding()
    tokens.encode_special_tokens = True
    if getattr(tokens.model, "dropout", None):
        tokens.model.dropout = None
    return tokens


def _malformed(path: Path, why: str) -> DataError:
    return DataError(
        f"{path}: not a tokenizer.json ({why[:200]}); save it again, or train one with  "
        "jaxlin data tokenizer"
    )


def _size(vocabulary: dict[str, int], path: Path) -> int:
    if not vocabulary:
        raise _malformed(path, "the vocabulary is empty")
    twice = [i for i, count in Counter(vocabulary.values()).items() if count > 1]
    if twice:
        names = sorted(token for token, i in vocabulary.items() if i == twice[0])
        raise _malformed(path, f"id {twice[0]} is that of several tokens: {names[:4]}")
    size = max(vocabulary.values()) + 1
    if size > MAX_ID:
        raise _malformed(path, f"the largest id is {size - 1}, above {MAX_ID}")
    return size


def _separator(vocabulary: dict[str, int], path: Path) -> int:
    for token in SEPARATORS:
        if token in vocabulary:
            return vocabulary[token]
    raise DataError(
        f"{path}: no token to separate documents; looked for {', '.join(SEPARATORS)}; add one of "
        "them to its added_tokens"
    )


def _is_byte_level(spec: dict[str, Any]) -> bool:
    decoder = spec.get("decoder") or {}
    steps = decoder.get("decoders", []) if decoder.get("type") == "Sequence" else [decoder]
    return any(step.get("type") == "ByteLevel" for step in steps)


def _adds_space(spec: dict[str, Any]) -> bool:
    first = spec.get("pre_tokenizer") or {}
    steps = first.get("pretokenizers", []) if first.get("type") == "Sequence" else [first]
    return any(step.get("add_prefix_space") for step in steps)


def _pieces(
    vocabulary: dict[str, int], added: set[int], size: int, spec: dict[str, Any]
) -> list[bytes]:
    """The bytes of each id. Exact for byte-level BPE; else what the usual spellings stand for."""
    spell = _byte_level_piece if _is_byte_level(spec) else _usual_piece
    table = byte_of_character()
    pieces = [b""] * size
    specials = {t["id"] for t in spec.get("added_tokens") or [] if t.get("special")}
    for token, i in vocabulary.items():
        if i not in specials:
            pieces[i] = token.encode() if i in added else spell(token, table)
    return pieces


def _byte_level_piece(token: str, table: dict[str, int]) -> bytes:
    if all(character in table for character in token):
        return bytes(table[character] for character in token)
    return token.encode()


def _usual_piece(token: str, table: dict[str, int]) -> bytes:
    """Sentencepiece's `▁` is a space and `<0x0A>` a byte; WordPiece's `##` is nothing."""
    if byte := re.fullmatch(r"<0x([0-9A-F]{2})>", token):
        return bytes([int(byte[1], 16)])
    return token.removeprefix("##").replace("▁", " ").encode()
