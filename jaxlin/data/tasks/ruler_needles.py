"""The needle-in-a-haystack family of RULER."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from jaxlin.data.tasks import haystack, lexicon
from jaxlin.data.tasks.needle import needle, prompt
from jaxlin.data.tasks.prompt import Question, TextTask


class Needles(TextTask):
    """`asked` keys with `each` values are asked for; `others` keys are hidden beside them.

    hay: "noise" (the same sentences again), "text" (the config's haystack), or "needles": nothing
    but other keys with values. keys, values: words and numbers, or identifiers (UUIDs).
    """

    new_tokens = 128

    def __init__(
        self,
        config: Any,
        *,
        hay: Literal["noise", "text", "needles"] = "text",
        keys: Literal["word", "identifier"] = "word",
        values: Literal["number", "identifier"] = "number",
        asked: int = 1,
        each: int = 1,
        others: int = 0,
    ):
        super().__init__(config)
        self._hay, self._keys, self._values = hay, keys, values
        self._asked, self._each, self._others = asked, each, others
        self._source = haystack.source(
            config.haystack if hay == "text" else "synthetic", "haystack"
        )

    def question(self, random: np.random.Generator, index: int, length: int) -> Question:
        """Needles at random depths."""
        keys = self._different(random, self._asked + self._others)
        asked = keys[: self._asked]
        values = {key: [self._value(random) for _ in range(self._each)] for key in keys}
        needles = [needle(key, value) for key in keys for value in values[key]]
        depths = random.random(len(needles)).tolist()
        pile = self._pile(random, set(keys))

        def text(n: int) -> str:
            return prompt(haystack.hidden(pile(n), needles, depths), asked, self._each)

        return Question(text, tuple(value for key in asked for value in values[key]))

    def _different(self, random: np.random.Generator, count: int) -> list[str]:
        if self._keys == "word":
            return lexicon.different(random, count)
        return [lexicon.identifier(random) for _ in range(count)]

    def _value(self, random: np.random.Generator) -> str:
        words = self._values == "number"
        return lexicon.number(random) if words else lexicon.identifier(random)

    def _pile(self, random: np.random.Generator, taken: set[str]) -> haystack.Haystack:
        if self._hay == "noise":
            return haystack.noise
        if self._hay == "text":
            return self._source(random)
        return self._distractors(np.random.default_rng(int(random.integers(2**63))), taken)

    def _distractors(self, random: np.random.Generator, taken: set[str]) -> haystack.Haystack:
        """Needles with other keys, as many as are asked for."""
        known: list[str] = []
        used = set(taken)

        def first(n: int) -> list[str]:
            while len(known) < n:
                (key,) = self._different(random, 1)
                # Where words run out a number is added.
                key = key if key not in used else f"{key}-{len(known)}"
                used.add(key)
                known.append(needle(key, self._value(random)))
            return known[:n]

        return first
