"""Config of HGRN (Qin et al. 2023, arXiv 2311.04823)."""

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.registry import mixers
from jaxlin.config.types import NonNegativeInt, PositiveFloat


@mixers.register("hgrn", "jaxlin.mixers.hgrn:HGRN")
@dataclass(frozen=True, kw_only=True)
class HGRN:
    """Elementwise recurrence whose forget gate has a lower bound that rises with depth."""

    kind: Literal["hgrn"] = "hgrn"
    expand_ratio: PositiveFloat = 1.0  # state width / model width
    # learned: one parameter of the whole model; fixed: i / layers, where learning starts.
    lower_bound: Literal["learned", "fixed", "none"] = "learned"
    output_gate: bool = True
    conv: NonNegativeInt = 0  # width of the short convolution on input and forget gate; 0: none
    norm_eps: PositiveFloat = 1e-6

    def problems(self, width: int) -> list[str]:
        """What does not fit a model of this width, as `field: reason` lines."""
        inner = width * self.expand_ratio
        if inner != int(inner):
            return [f"expand_ratio: width * expand_ratio must be whole, found {inner:g}"]
        return []
