"""Config of DeltaNet (Yang et al. 2024, arXiv 2406.06484)."""

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.mixers.gla import uneven
from jaxlin.config.registry import mixers
from jaxlin.config.types import NonNegativeInt, PositiveFloat, PositiveInt


@mixers.register("deltanet", "jaxlin.mixers.deltanet:DeltaNet")
@dataclass(frozen=True, kw_only=True)
class DeltaNet:
    """Linear attention that writes what the memory got wrong; no decay."""

    kind: Literal["deltanet"] = "deltanet"
    heads: PositiveInt = 2
    expand_k: PositiveFloat = 1.0  # key width / model width
    expand_v: PositiveFloat = 1.0  # value width / model width
    feature_map: Literal["identity", "silu", "relu", "elu1"] = "silu"  # of q and k
    qk_norm: Literal["l2", "sum"] = "l2"
    beta: bool = True  # a write strength per token; False: 1
    allow_neg_eigval: bool = False  # beta in (0, 2) instead of (0, 1)
    output_gate: bool = False
    conv: NonNegativeInt = 4  # width of the short convolution on q, k, v; 0: none
    norm_eps: PositiveFloat = 1e-6

    def problems(self, width: int) -> list[str]:
        """What does not fit a model of this width, as `field: reason` lines."""
        found = uneven(self, width)
        if self.qk_norm == "sum" and self.feature_map != "elu1":
            found.append(
                f"qk_norm: sum divides by the sum of {self.feature_map} features, which may be 0; "
                "allowed with feature_map=elu1"
            )
        return found
