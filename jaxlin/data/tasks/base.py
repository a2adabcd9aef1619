"""What a task over tokens is: an example is a function of (seed, index) alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Shaped

TRAIN, HELD_OUT = 0, 1  # streams of random numbers


class Example(NamedTuple):
    """One row. A label belongs to the example, or to each of its places."""

    tokens: Int32[np.ndarray, " t"]
    targets: Int32[np.ndarray, " t"]  # 0 where nothing is asked
    labels: Mapping[str, Any]


class Examples(NamedTuple):
    """Rows of one length. `weights` are 1 where an answer is asked for and 0 elsewhere."""

    tokens: Int32[np.ndarray, "n t"]
    targets: Int32[np.ndarray, "n t"]
    weights: Float32[np.ndarray, "n t"]
    labels: dict[str, Shaped[np.ndarray, "n ..."]]  # to break scores down by


class TokenTask:
    """A task of its config; a subclass says what an example is. Id 0 is the blank."""

    grid: tuple[str, str] | None = None  # labels of the rows and the columns of a map of scores

    def __init__(self, config: Any):
        self.config = config

    def word(self, token: int) -> str:
        """The name of an id, without blanks in it."""
        return str(token) if token else "_"

    def example(self, random: np.random.Generator, index: int, length: int) -> Example:
        """An example of `length` tokens; all that is random comes from `random`."""
        raise NotImplementedError

    def examples(
        self, seed: int, first: int, count: int, length: int, *, held_out: bool = False
    ) -> Examples:
        """Examples `first` ... of a seed. Those that are held out come from numbers of their own.

        How many are made together makes no difference.
        """
        stream = HELD_OUT if held_out else TRAIN
        rows = [
            self.example(np.random.default_rng((stream, seed, index)), index, length)
            for index in range(first, first + count)
        ]
        targets = np.stack([row.targets for row in rows])
        names = rows[0].labels
        return Examples(
            np.stack([row.tokens for row in rows]),
            targets,
            (targets > 0).astype(np.float32),
            {name: np.stack([np.asarray(row.labels[name]) for row in rows]) for name in names},
        )
