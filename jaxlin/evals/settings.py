"""How to choose the next token and when to stop. Imports no jax, so mistakes are found at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxlin.config.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Temperature first, then the top_k likeliest tokens, then the nucleus of top_p among those.

    temperature 0: the likeliest token. top_k and top_p None: no limit. Raises ConfigError.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "temperature": (0 <= self.temperature < math.inf, "a finite number >= 0"),
            "top_k": (self.top_k is None or self.top_k >= 1, "a whole number >= 1"),
            "top_p": (self.top_p is None or 0 < self.top_p <= 1, "a number above 0, at most 1"),
            "seed": (0 <= self.seed < 2**32, "a whole number from 0 to 2^32 - 1"),
        }
        problems = [
            f"{name}: {getattr(self, name)} is not allowed; give {allowed}"
            for name, (fine, allowed) in checks.items()
            if not fine
        ]
        if problems:
            raise ConfigError("\n".join(problems))

    @property
    def mode(self) -> str:
        """'greedy' | 'free' (the whole distribution) | 'cut' (top_k or top_p limit it)."""
        if self.temperature == 0:
            return "greedy"
        cut = self.top_k is not None or (self.top_p is not None and self.top_p < 1)
        return "cut" if cut else "free"


@dataclass(frozen=True, kw_only=True)
class Stop:
    """A row ends at one of these token ids, or where its text comes to hold one of the strings.

    Neither the id nor the string becomes part of the text. Raises ConfigError on an empty string.
    """

    ids: tuple[int, ...] = ()
    strings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if "" in self.strings:
            raise ConfigError("stop: an empty string would end every text at once; leave it out")
