"""State tracking: the word problem of a finite group, asked at every place."""

from __future__ import annotations

from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
from jaxtyping import Int64

from jaxlin.data.tasks.base import Example, TokenTask


class Words(TokenTask):
    """tokens x_1 x_2 ... x_t, targets x_1, x_1 x_2, ..., x_1 x_2 ... x_t (first x_1, then x_2).

    Elements are drawn evenly; ids are 1 + their number. Source: Merrill et al. 2024, "The illusion
    of state in state-space models". s5 and a5 are not solvable, which no fixed number of layers
    with diagonal transitions can track at all lengths.
    """

    @cached_property
    def table(self) -> Int64[np.ndarray, "n n"]:
        """table[a, b]: first a, then b. Element 0 is the identity."""
        return multiplication(self.config.of)

    def word(self, token: int) -> str:
        """g0 is the identity; of z2 they are 0 and 1."""
        if not token:
            return "_"
        return str(token - 1) if self.config.of == "z2" else f"g{token - 1}"

    def example(self, random: np.random.Generator, index: int, length: int) -> Example:
        """Label: place, from 1."""
        elements = random.integers(0, len(self.table), length)
        products, state = np.zeros(length, np.int32), 0
        table: Any = self.table
        for i, element in enumerate(elements):
            state = table[state, element]
            products[i] = state
        labels = {"place": np.arange(1, length + 1)}
        return Example((elements + 1).astype(np.int32), products + 1, labels)


def multiplication(name: str) -> Int64[np.ndarray, "n n"]:
    """The multiplication table of z (cyclic), s (symmetric) or a (alternating) with a number."""
    kind, n = name[0], int(name[1:])
    if kind == "z":
        return np.add.outer(np.arange(n), np.arange(n)) % n
    elements = [p for p in permutations(range(n)) if kind == "s" or not _odd(p)]
    number = {p: i for i, p in enumerate(elements)}
    then = lambda a, b: number[tuple(b[a[i]] for i in range(n))]  # noqa: E731
    return np.array([[then(a, b) for b in elements] for a in elements])


def _odd(p: tuple[int, ...]) -> bool:
    """Whether the number of pairs out of order is odd."""
    return sum(p[i] > p[j] for j in range(len(p)) for i in range(j)) % 2 == 1
