"""Config of Gated DeltaNet (Yang et al. 2025, arXiv 2412.06464)."""

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.registry import mixers
from jaxlin.config.types import NonNegativeInt, PositiveFloat, PositiveInt


@mixers.register("gated_deltanet", "jaxlin.mixers.gated_deltanet:GatedDeltaNet")
@dataclass(frozen=True, kw_only=True)
class GatedDeltaNet:
    """Delta rule with a data-dependent scalar decay per head."""

    kind: Literal["gated_deltanet"] = "gated_deltanet"
    heads: PositiveInt = 6
    value_heads: PositiveInt | None = None  # None: as many as heads; else a multiple of heads
    head_dim: PositiveInt = 256
    expand_v: PositiveFloat = 2.0  # value width / key width of a head
    gate: bool = True  # the output gate
    conv: NonNegativeInt = 4  # width of the short convolution on q, k, v; 0: none
    qk_norm: Literal["l2", "softmax"] = "l2"
    decay: Literal["mamba", "none"] = "mamba"  # none: DeltaNet
    allow_neg_eigval: bool = False  # beta in (0, 2) instead of (0, 1)
    norm_eps: PositiveFloat = 1e-6

    def problems(self, width: int) -> list[str]:
        """What does not fit, as `field: reason` lines."""
        found = []
        value_dim = self.head_dim * self.expand_v
        if value_dim != int(value_dim):
            found.append(f"expand_v: head_dim * expand_v must be whole, found {value_dim:g}")
        if self.value_heads is not None and self.value_heads % self.heads:
            found.append(f"value_heads: {self.value_heads} is no multiple of heads {self.heads}")
        return found
