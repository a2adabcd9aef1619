"""Copying a string, and writing what followed once before (induction)."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxlin.config.tasks import copying
from jaxlin.data.tasks.base import Example, TokenTask

MARK = 1


class Symbols(TokenTask):
    """Ids: the blank, the mark, then symbols."""

    config: Any  # Copy or Induction

    def word(self, token: int) -> str:
        """? is the mark, s1, s2, ... are symbols."""
        return ("_", "?")[token] if token <= MARK else f"s{token - MARK}"

    def draw(self, random: np.random.Generator, count: int) -> np.ndarray:
        """Random symbols."""
        return random.integers(copying.SPECIAL, self.config.size, count)


class Copy(Symbols):
    """The copy is read as it is written: the token at a place is the target before it.

        tokens   s5 s2 s9  _  _  _  ? s5 s2
        targets   .  .  .  .  .  . s5 s2 s9

    Source: Arjovsky et al. 2016, "Unitary evolution recurrent neural networks" (copying memory);
    `selective`: Gu and Dao 2023, "Mamba". There the copy is not read back; here it is, as where a
    model writes, so that scores are those of greedy decoding.
    """

    config: copying.Copy

    def example(self, random: np.random.Generator, index: int, length: int) -> Example:
        """Label: place in the copy, from 1."""
        c = self.config
        ask = length - c.tokens
        shown = self.draw(random, c.tokens)
        at = np.arange(c.tokens)
        if c.selective:
            at = np.sort(random.permutation(ask)[: c.tokens])
        tokens, targets, place = (np.zeros(length, np.int32) for _ in range(3))
        tokens[at], tokens[ask], tokens[ask + 1 :] = shown, MARK, shown[:-1]
        targets[ask:], place[ask:] = shown, np.arange(1, c.tokens + 1)
        return Example(tokens, targets, {"place": place})


class Induction(Symbols):
    """... ? s3 ... ? -> s3. Source: Olsson et al. 2022, "In-context learning and induction heads",
    in the form of Gu and Dao 2023, "Mamba", section 4.1.2."""

    config: copying.Induction

    def example(self, random: np.random.Generator, index: int, length: int) -> Example:
        """Label: gap between the marks."""
        tokens = self.draw(random, length).astype(np.int32)
        targets = np.zeros(length, np.int32)
        first = int(random.integers(0, length - 2))
        tokens[first] = tokens[-1] = MARK
        targets[-1] = tokens[first + 1]
        return Example(tokens, targets, {"gap": length - 1 - first})
