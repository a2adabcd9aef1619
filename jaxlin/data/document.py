"""A document, and limits on iterators of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

ASCII = bytes(range(128))


class Document(NamedTuple):
    """UTF-8 text with where it came from."""

    file: str  # name in the fingerprint
    where: str  # name in errors: the file, or file:line
    text: bytes
    held_out: bool | None = None  # None: decided by `split`


def first_bytes(documents: Iterable[Document], limit: int | None) -> Iterator[Document]:
    """Documents until `limit` bytes of text; the last one is cut at a character's end."""
    left = limit
    for document in documents:
        if left is None:
            yield document
            continue
        text = whole_characters(document.text[:left])
        left -= len(document.text)
        if text:
            yield document._replace(text=text)
        if left <= 0:
            return


def whole_characters(text: bytes) -> bytes:
    """`text` without the UTF-8 character that its end cuts."""
    return text.decode("utf-8", errors="ignore").encode() if text[-4:].strip(ASCII) else text
