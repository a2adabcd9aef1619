"""Config of HGRN-2 (Qin et al. 2024, arXiv 2404.07904)."""

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.errors import nearest_divisors
from jaxlin.config.registry import mixers
from jaxlin.config.types import NonNegativeInt, PositiveFloat, PositiveInt


@mixers.register("hgrn2", "jaxlin.mixers.hgrn2:HGRN2")
@dataclass(frozen=True, kw_only=True)
class HGRN2:
    """Linear attention whose keys are tied to its decay, which is bounded from below by depth."""

    kind: Literal["hgrn2"] = "hgrn2"
    heads: PositiveInt = 2  # of width / heads keys and values each: the paper's expand ratio, 128
    # learned: one parameter of the whole model; fixed: i / layers, where learning starts.
    lower_bound: Literal["learned", "fixed", "none"] = "learned"
    output_gate: bool = False
    conv: NonNegativeInt = 0  # width of the short convolution on q, f, i; 0: none
    norm_eps: PositiveFloat = 1e-6

    def problems(self, width: int) -> list[str]:
        """What does not fit a model of this width, as `field: reason` lines."""
        if width % self.heads:
            near = nearest_divisors(self.heads, width)
            return [f"heads: {self.heads} does not divide the width {width}{near}"]
        return []
