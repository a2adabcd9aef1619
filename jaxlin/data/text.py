"""Own files as documents: any text file is one, a line of a .jsonl file is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from jaxlin.config.errors import DataError, nearest
from jaxlin.config.sources.text import Text
from jaxlin.data.build import build
from jaxlin.data.corpus import Corpus
from jaxlin.data.document import Document, first_bytes
from jaxlin.data.files import Named, check_utf8, expand, read_all, read_lines
from jaxlin.data.tokenizer import load_tokenizer


def load(config: Text) -> Corpus:
    """The corpus of own files, tokenised in memory. Raises DataError."""
    tokenizer, corrupt = load_tokenizer(config.tokenizer), Corrupt(config.skip_corrupt)
    documents = _documents(config, corrupt)
    where, reset = ", ".join(config.paths), config.reset
    corpus = build(documents, tokenizer, config.held_out, where=where, reset=reset)
    found = corrupt.report()
    return replace(corpus, description=f"{corpus.description}; {found}") if found else corpus


class Corrupt:
    """Lines of .jsonl files that hold no text: `limit` of them are passed over and counted."""

    def __init__(self, limit: int = 0):
        self.limit, self.count, self._first = limit, 0, ""

    def add(self, error: DataError) -> None:
        """One more. Raises the error when there were `limit` before."""
        if self.count == self.limit:
            before = f"; before it {self.report()}" if self.count else ""
            raise DataError(f"{error}{before}") from error
        self._first = self._first or str(error)
        self.count += 1

    def report(self) -> str:
        """What was passed over; '' when nothing was."""
        lines = "1 corrupt line" if self.count == 1 else f"{self.count} corrupt lines"
        return f"{lines} passed over, the first: {self._first}" if self.count else ""


def _documents(config: Text, corrupt: Corrupt) -> Iterator[Document]:
    train = expand(config.paths, "data.paths")
    held = expand(config.eval_paths, "data.eval_paths") if config.eval_paths else []
    _check_apart(train, held)
    for files, mark in (train, False if held else None), (held, True):
        for document in first_bytes(read(files, config.field, corrupt), config.max_bytes):
            yield document._replace(held_out=mark)


def _check_apart(train: list[Named], held: list[Named]) -> None:
    both = {named.path.resolve() for named in train} & {named.path.resolve() for named in held}
    if both:
        raise DataError(
            f"{min(both)} is in data.paths and in data.eval_paths: held-out text would be trained "
            "on; take it out of one of them"
        )


def read(
    files: list[Named], field: str = "text", corrupt: Corrupt | None = None
) -> Iterator[Document]:
    """The documents of `files` in order; empty lines and empty files that a pattern matched are
    passed over. Raises DataError naming file and line (beyond the limit of `corrupt`, which is 0 by
    itself), or the empty file that was named itself.
    """
    corrupt = corrupt or Corrupt()
    for path, literal in files:
        count = 0
        for document in _jsonl(path, field, corrupt) if _is_jsonl(path) else _plain(path):
            count += 1
            yield document
        if literal and not count:
            raise DataError(f"{path}: holds no text; remove it from the list or fill it")


def _is_jsonl(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(".jsonl")


def _plain(path: Path) -> Iterator[Document]:
    text = check_utf8(read_all(path), str(path))
    if text:
        yield Document(path.name, str(path), text)


def _jsonl(path: Path, field: str, corrupt: Corrupt) -> Iterator[Document]:
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path}:{number}"
        try:
            text = _text(line, field, where)
        except DataError as error:
            corrupt.add(error)
            continue
        if text:
            yield Document(path.name, where, text)


def _text(line: bytes, field: str, where: str) -> bytes:
    line = check_utf8(line, where).strip()
    return _encode(_field(line, field, where), where) if line else b""


def _field(line: bytes, field: str, where: str) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: not a line of JSON ({error}); each line must be one object such as "
            f'{{"{field}": "..."}}'
        ) from error
    if not isinstance(record, dict):
        raise DataError(f"{where}: a JSON {type(record).__name__}, not an object with {field!r}")
    if field not in record:
        raise DataError(
            f"{where}: no field {field!r}{nearest(field, list(record)[:20])}; set data.field"
        )
    if not isinstance(record[field], str):
        kind = type(record[field]).__name__
        raise DataError(f"{where}: field {field!r} is a {kind}, not a string; set data.field")
    return record[field]


def _encode(text: str, where: str) -> bytes:
    """JSON may spell half a surrogate pair, which is no character."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: character {error.start} is half of a surrogate pair; repair the line"
        ) from error
