"""Decoding id by id: text comes out as soon as its characters are whole."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Protocol, runtime_checkable


@runtime_checkable
class TextStream(Protocol):
    """Fed ids one by one, gives the text that they complete; '' inside a character."""

    def push(self, token: int) -> str: ...

    def flush(self) -> str:
        """What is left at the end; an unfinished character becomes U+FFFD."""
        ...


class Bytes2Text:
    """A text stream over tokens that stand for bytes."""

    def __init__(self, bytes_of: Callable[[int], bytes]):
        self._bytes_of = bytes_of
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        return self._utf8.decode(self._bytes_of(int(token)))

    def flush(self) -> str:
        return self._utf8.decode(b"", final=True)
