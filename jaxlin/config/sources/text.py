"""Configs of the data sources: what is read, how it becomes tokens, what is held out."""

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.registry import sources
from jaxlin.config.types import NonNegativeInt, OpenFraction, PositiveInt


@sources.register("stdlib", "jaxlin.data.stdlib:load")
@dataclass(frozen=True, kw_only=True)
class Stdlib:
    """The text that every Python carries: its library's sources and the `pydoc_data` topics."""

    kind: Literal["stdlib"] = "stdlib"
    tokenizer: str = "bytes"  # 'bytes' or a path to a tokenizer.json
    held_out: OpenFraction = 0.05  # share of the files kept for evaluation
    max_bytes: PositiveInt | None = None  # stop reading after this much text
    reset: bool = True  # states and attention start anew at each document


@sources.register("text", "jaxlin.data.text:load")
@dataclass(frozen=True, kw_only=True)
class Text:
    """Own files: text (a file is a document), .jsonl and .jsonl.gz (a line is one)."""

    kind: Literal["text"] = "text"
    paths: tuple[str, ...] = ()  # files or glob patterns
    eval_paths: tuple[str, ...] = ()  # held-out files; empty: `held_out` of the documents
    field: str = "text"  # the key that holds the text in a .jsonl line
    skip_corrupt: NonNegativeInt = 0  # .jsonl lines without such text that are passed over, at most
    tokenizer: str = "bytes"
    held_out: OpenFraction = 0.05
    max_bytes: PositiveInt | None = None
    reset: bool = True


@sources.register("packed", "jaxlin.data.packed:load")
@dataclass(frozen=True, kw_only=True)
class Packed:
    """A folder written by `jaxlin data pack`: tokens.bin and index.json, memory-mapped."""

    kind: Literal["packed"] = "packed"
    path: str = ""
    eval_path: str | None = None  # None: `held_out` of the documents
    held_out: OpenFraction = 0.05
    reset: bool = True
