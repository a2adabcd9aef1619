"""index.json of a packed folder: read as hostile, written in one format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from jaxlin.config import strictjson
from jaxlin.config.errors import DataError

INDEX, TOKENS, DOCUMENTS, TOKENIZER = "index.json", "tokens.bin", "documents.bin", "tokenizer.json"
MAX_INDEX = 2**16  # bytes
VERSION = 1

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(gt=0, lt=2**48)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid"))
class Index:
    """Counts are of documents without separators; `text_bytes` is the size of their UTF-8."""

    format: Literal["jaxlin-packed"] = "jaxlin-packed"
    version: int = VERSION
    dtype: Literal["uint16", "uint32"]
    tokens: Count
    documents: Count
    text_bytes: Count
    vocab: Count
    bos: Annotated[int, Field(ge=0)]
    tokenizer: Literal["bytes", "tokenizer.json"]
    tokenizer_sha256: Sha256
    tokens_sha256: Sha256
    documents_sha256: Sha256


_ADAPTER = TypeAdapter(Index)


def to_json(index: Index) -> bytes:
    return _ADAPTER.dump_json(index, indent=1) + b"\n"


def read_index(root: Path) -> Index:
    """The index of a packed folder. Raises DataError."""
    path = root / INDEX
    try:
        with path.open("rb") as file:
            text = file.read(MAX_INDEX + 1)
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror}; {root} is no folder written by  jaxlin data pack"
        ) from error
    record = strictjson.parse(text, str(path), DataError, MAX_INDEX)
    version = record.get("version") if isinstance(record, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise DataError(f"{path}: version {version} is newer than {VERSION}; upgrade jaxlin")
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors()
        )
        raise DataError(f"{path}: {wrong}; pack again") from error
