"""Associative recall: pairs of key and value are shown, then values are asked for by key."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int32

from jaxlin.config.tasks import recall
from jaxlin.data.tasks.base import Example, TokenTask

Ids = Int32[np.ndarray, " n"]


class Recall(TokenTask):
    """Keys are the lower half of the vocabulary without the blank, values the upper half."""

    config: recall.Pairs

    def word(self, token: int) -> str:
        """k1, k2, ... and v1, v2, ..."""
        half = self.config.vocab // 2
        if token >= half:
            return f"v{token - half + 1}"
        return f"k{token}" if token else "_"

    def pairs(self, random: np.random.Generator, count: int) -> tuple[Ids, Ids]:
        """Keys and values, none of them twice."""
        half = self.config.vocab // 2
        keys = 1 + random.permutation(half - 1)[:count]
        values = half + random.permutation(self.config.vocab - half)[:count]
        return keys.astype(np.int32), values.astype(np.int32)


class MQAR(Recall):
    """k v k v ... k v, then keys among blanks; the target at a key is its value.

        tokens   k1 v1 k2 v2  _  _ k2  _  _  _ k1  _
        targets   .  .  .  .  .  . v2  .  .  . v1  .

    The queries stand at every other place from the first one after the pairs; place i = 1, 2, ...
    is taken with weight i^(power_a - 1), without repetition. Source: Arora et al. 2023, "Zoology",
    appendix. One departure: with `noise` blanks become random values, never keys, so that what
    stands after a key is always its value or, after a query, nothing that is asked for later.
    """

    config: recall.MQAR

    def example(self, random: np.random.Generator, index: int, length: int) -> Example:
        """Labels: pairs, and at each query the gap to its pair."""
        c = self.config
        n = c.pairs if c.fewest is None else int(random.integers(c.fewest, c.pairs + 1))
        queries = c.queries or n
        keys, values = self.pairs(random, n)
        tokens, targets, gap = (np.zeros(length, np.int32) for _ in range(3))
        tokens[0 : 2 * n : 2], tokens[1 : 2 * n : 2] = keys, values
        asked = np.resize(random.permutation(n), queries)  # all keys before one comes again
        at = 2 * n + 2 * self.places(random, (length - 2 * n) // 2, queries)
        tokens[at], targets[at], gap[at] = keys[asked], values[asked], at - 2 * asked
        if c.noise:
            blank = tokens == 0
            tokens[blank] = random.integers(c.vocab // 2, c.vocab, int(blank.sum()))
        return Example(tokens, targets, {"pairs": n, "gap": gap})

    def places(self, random: np.random.Generator, room: int, count: int) -> np.ndarray:
        """`count` of the places 0 ... room - 1, in random order."""
        weights = np.arange(1, room + 1) ** (self.config.power_a - 1)
        return random.choice(room, count, replace=False, p=weights / weights.sum())


class NeedleTokens(Recall):
    """Pairs spread evenly over the example with blanks between; its last token is a key.

    Labels: depth (percent of the way from the first pair to the last), length.
    """

    config: recall.NeedleTokens
    grid = ("depth", "length")

    def example(self, random: np.random.Generator, index: int, length: int) -> Example:
        """The depths take turns."""
        c = self.config
        keys, values = self.pairs(random, c.pairs)
        depth = c.depths[index % len(c.depths)]
        tokens, targets = (np.zeros(length, np.int32) for _ in range(2))
        # The room before the query, in slots of two; the first pair is at its start.
        slots = np.linspace(0, (length - 1) // 2 - 1, c.pairs).round().astype(int)
        tokens[2 * slots], tokens[2 * slots + 1] = keys, values
        asked = round(depth / 100 * (c.pairs - 1))
        tokens[-1], targets[-1] = keys[asked], values[asked]
        return Example(tokens, targets, {"depth": depth, "length": length})
