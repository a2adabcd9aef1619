"""Config of RetNet (Sun et al. 2023, arXiv 2307.08621)."""

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.mixers.gla import uneven
from jaxlin.config.registry import mixers
from jaxlin.config.types import NonNegativeInt, PositiveFloat, PositiveInt


@mixers.register("retnet", "jaxlin.mixers.retnet:RetNet")
@dataclass(frozen=True, kw_only=True)
class RetNet:
    """Linear attention with rotary positions and a fixed decay per head."""

    kind: Literal["retnet"] = "retnet"
    heads: PositiveInt = 8
    expand_k: PositiveFloat = 1.0  # key width / model width
    expand_v: PositiveFloat = 2.0  # value width / model width
    # The ablation of the paper: 1 - 2^(-5-h) | 1 - 2^(-6.5) for every head | 1.
    decay: Literal["multiscale", "single", "none"] = "multiscale"
    rope_base: PositiveFloat | None = 10000.0  # None: no positions
    output_gate: bool = True
    conv: NonNegativeInt = 0  # width of the short convolution on q, k, v; 0: none
    norm_eps: PositiveFloat = 1e-6

    def problems(self, width: int) -> list[str]:
        """What does not fit a model of this width, as `field: reason` lines."""
        found = uneven(self, width)
        size = int(width * self.expand_k) // self.heads
        if not found and self.rope_base is not None and size % 2:
            found.append(f"heads: rotary positions need keys of even size, found {size} a head")
        return found
