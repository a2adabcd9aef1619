"""What a task in words is: a prompt, and the strings that a right answer contains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxlin.config.errors import DataError
from jaxlin.data.tasks.base import HELD_OUT
from jaxlin.data.tokenizer import Tokenizer


class Prompt(NamedTuple):
    """`answers`: what the continuation is searched for; `max_new`: how many tokens it has."""

    text: str
    answers: tuple[str, ...]
    match: Literal["all", "any"]  # the mark: share of answers contained, or whether any is
    max_new: int
    labels: Mapping[str, Any]


class Question(NamedTuple):
    """A prompt but for its haystack: `text(n)` is the prompt around n pieces of it, longer for
    larger n."""

    text: Callable[[int], str]
    answers: tuple[str, ...]
    match: Literal["all", "any"] = "all"
    least: int = 0  # pieces below which the question makes no sense
    most: int = 2**24
    labels: Mapping[str, Any] = {}


class TextTask:
    """A task of its config; a subclass says what a question is."""

    grid: tuple[str, str] | None = None
    new_tokens = 32  # of an answer, or twice those of the answers themselves where that is more

    def __init__(self, config: Any):
        self.config = config

    def question(self, random: np.random.Generator, index: int, length: int) -> Question:
        """The question of an example of this length; all that is random comes from `random`."""
        raise NotImplementedError

    def prompts(
        self, seed: int, first: int, count: int, length: int, tokenizer: Tokenizer
    ) -> list[Prompt]:
        """Prompts `first` ... of a seed, as long as fits: with the separator in front and the
        answer behind at most `length` tokens. Raises DataError where that is too short.
        """
        return [self._prompt(seed, i, length, tokenizer) for i in range(first, first + count)]

    def _prompt(self, seed: int, index: int, length: int, tokenizer: Tokenizer) -> Prompt:
        asked = self.question(np.random.default_rng((HELD_OUT, seed, index)), index, length)
        answer = len(tokenizer.encode(", ".join(asked.answers))) if asked.match == "all" else 0
        max_new = max(self.new_tokens, 2 * answer)
        size = lambda n: 1 + len(tokenizer.encode(asked.text(n))) + max_new  # noqa: E731
        if size(asked.least) > length:
            raise DataError(
                f"task {self.config.label}: its shortest prompt and answer are "
                f"{size(asked.least)} tokens of the tokenizer {tokenizer.name!r}, more than length "
                f"{length}; give a longer length or leave the task out"
            )
        n = largest(lambda n: size(n) <= length, asked.least, asked.most)
        labels = {**asked.labels, "length": length} if self.grid else asked.labels
        return Prompt(asked.text(n), asked.answers, asked.match, max_new, labels)


def largest(fits: Callable[[int], bool], low: int, most: int) -> int:
    """The largest n from `low` to `most` that fits; `low` does, and so does what is below one that
    does. By doubling, then halving."""
    step = 1
    while low + step <= most and fits(low + step):
        low, step = low + step, 2 * step
    while step:
        if low + step <= most and fits(low + step):
            low += step
        step //= 2
    return low


def mark(prompt: Prompt, written: str) -> float:
    """Share of the answers that the text contains, whatever their case; `any`: 1 if one is."""
    found = [answer.lower() in written.lower() for answer in prompt.answers]
    return float(any(found)) if prompt.match == "any" else sum(found) / len(found)
