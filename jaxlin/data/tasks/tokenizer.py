"""The ids of a task as words, so that rows can be read and prompts be written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from jaxlin.config.errors import DataError, nearest
from jaxlin.data.tasks.base import TokenTask


class TaskTokenizer:
    """Text is words between blanks. An id stands for no bytes of anything: token_bytes are 0."""

    bos = 0  # the blank
    exact_bytes = False

    def __init__(self, task: TokenTask):
        self.name = f"task {task.config.kind}"
        self.size: int = task.config.size
        self.words = [task.word(token) for token in range(self.size)]
        self._ids = {word: token for token, word in enumerate(self.words)}
        self.digest = hashlib.sha256(" ".join(self.words).encode()).hexdigest()

    @property
    def token_bytes(self) -> np.ndarray:
        return np.zeros(self.size, np.int32)

    def encode(self, text: str | bytes) -> np.ndarray:
        """Raises DataError for a word that the task does not have."""
        words = (text if isinstance(text, str) else text.decode("utf-8", "replace")).split()
        unknown = [word for word in words if word not in self._ids]
        if unknown:
            raise DataError(
                f"{self.name}: {unknown[0]!r} is none of its {self.size} words"
                f"{nearest(unknown[0], self.words[:64])}; write words between blanks"
            )
        return np.array([self._ids[word] for word in words], np.int32)

    def encode_many(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        return [self.encode(text) for text in texts]

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        known = [int(i) for i in ids if 0 <= int(i) < self.size]
        return " ".join(self.words[i] for i in known).encode()

    def decode_stream(self) -> Stream:
        return Stream(self.words)


class Stream:
    """Word after word, each with the blank that ends it."""

    def __init__(self, words: Sequence[str]):
        self._words = words

    def push(self, token: int) -> str:
        return f"{self._words[token]} " if 0 <= token < len(self._words) else ""

    def flush(self) -> str:
        return ""
