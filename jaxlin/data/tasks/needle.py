"""Needles: sentences that give a value to a key, hidden in a text and asked for at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxlin.data.tasks import haystack, lexicon
from jaxlin.data.tasks.prompt import Question, TextTask

INTRODUCTION = "Some keys are given values in the text below. They are asked for at the end."


def needle(key: str, value: str) -> str:
    """A sentence to hide."""
    return f"The value of {key} is {value}."


def prompt(text: str, keys: Sequence[str], each: int) -> str:
    """The text between the introduction and the question, which the model goes on to answer."""
    names = ", ".join(keys)
    what = "value" if len(keys) * each == 1 else "values"
    verb = "is" if len(keys) * each == 1 else "are"
    return (
        f"{INTRODUCTION}\n{text}\nWhich {what} of {names} {verb} given in the text? "
        f"The {what} of {names} {verb}"
    )


class Needle(TextTask):
    """The map: one needle at a depth that is asked for; depths take turns."""

    config: Any  # jaxlin.config.tasks.needle.Needle
    grid = ("depth", "length")

    def __init__(self, config: Any):
        super().__init__(config)
        self._source = haystack.source(config.haystack, "haystack")

    def question(self, random: np.random.Generator, index: int, length: int) -> Question:
        """Label: depth in percent."""
        depth = self.config.depths[index % len(self.config.depths)]
        (key,), value = lexicon.different(random, 1), lexicon.number(random)
        pile = self._source(random)

        def text(n: int) -> str:
            return prompt(haystack.hidden(pile(n), [needle(key, value)], [depth / 100]), [key], 1)

        return Question(text, (value,), labels={"depth": depth})
