"""Config of lightning attention (Qin et al. 2023 and 2024, arXiv 2307.14995 and 2401.04658)."""

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.errors import nearest_divisors
from jaxlin.config.registry import mixers
from jaxlin.config.types import NonNegativeInt, PositiveFloat, PositiveInt


@mixers.register("lightning", "jaxlin.mixers.lightning:Lightning")
@dataclass(frozen=True, kw_only=True)
class Lightning:
    """Linear attention of TransNormerLLM: a fixed decay per head and layer, no scale."""

    kind: Literal["lightning"] = "lightning"
    heads: PositiveInt = 8
    # Slopes of the decay: of the released code | of its paper | of the fla library | no decay.
    decay: Literal["alibi", "tnl", "fla", "none"] = "alibi"
    lrpe: bool = False  # learned rotary positions; the paper has them in its first layer alone
    output_gate: bool = True
    conv: NonNegativeInt = 0  # width of the short convolution on q, k, v; 0: none
    norm_eps: PositiveFloat = 1e-6

    def problems(self, width: int) -> list[str]:
        """What does not fit a model of this width, as `field: reason` lines."""
        if width % self.heads:
            near = nearest_divisors(self.heads, width)
            return [f"heads: {self.heads} does not divide the width {width}{near}"]
        return []
