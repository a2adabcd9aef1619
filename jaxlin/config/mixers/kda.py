"""Config of Kimi Delta Attention (Kimi Team 2025, arXiv 2510.26692)."""

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.registry import mixers
from jaxlin.config.types import NonNegativeInt, PositiveFloat, PositiveInt


@mixers.register("kda", "jaxlin.mixers.kda:KDA")
@dataclass(frozen=True, kw_only=True)
class KDA:
    """Delta rule with a data-dependent decay per key channel."""

    kind: Literal["kda"] = "kda"
    heads: PositiveInt = 2
    head_dim: PositiveInt = 128  # of keys
    expand_v: PositiveFloat = 1.0  # value width / key width of a head
    allow_neg_eigval: bool = False  # beta in (0, 2) instead of (0, 1)
    output_gate: bool = True
    conv: NonNegativeInt = 4  # width of the short convolution on q, k, v; 0: none
    norm_eps: PositiveFloat = 1e-6

    def problems(self, width: int) -> list[str]:
        """What does not fit, as `field: reason` lines."""
        value_dim = self.head_dim * self.expand_v
        if value_dim != int(value_dim):
            return [f"expand_v: head_dim * expand_v must be whole, found {value_dim:g}"]
        return []
