"""Ending a text at a token or a string that may span tokens, without ever showing part of it."""

from __future__ import annotations

from jaxlin.data.decode import TextStream
from jaxlin.evals.settings import Stop


class RowText:
    """The text of one row, fed token by token; holds back what may start a stop string."""

    def __init__(self, stream: TextStream, stop: Stop):
        self._stream, self._stop = stream, stop
        self._held = ""

    def push(self, token: int) -> tuple[str, bool]:
        """Text that is certain after this token, and whether the row ends with it."""
        if token in self._stop.ids:
            text, _ = self.flush()
            return text, True
        return self._take(self._stream.push(token), last=False)

    def flush(self) -> tuple[str, bool]:
        """Everything still held back, up to a stop string."""
        return self._take(self._stream.flush(), last=True)

    def _take(self, text: str, last: bool) -> tuple[str, bool]:
        text = self._held + text
        found = [place for s in self._stop.strings if (place := text.find(s)) >= 0]
        if found:
            self._held = ""
            return text[: min(found)], True
        keep = 0 if last else max((_overlap(text, s) for s in self._stop.strings), default=0)
        certain = len(text) - keep
        self._held = text[certain:]
        return text[:certain], False


def _overlap(text: str, string: str) -> int:
    """Length of the longest end of `text` with which `string` begins, less than all of it."""
    longest = min(len(text), len(string) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(string[:n])), 0)
