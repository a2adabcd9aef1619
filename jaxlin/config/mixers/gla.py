"""Config of gated linear attention (Yang et al. 2024, arXiv 2312.06635)."""

from dataclasses import dataclass
from typing import Any, Literal

from jaxlin.config.errors import nearest_divisors
from jaxlin.config.registry import mixers
from jaxlin.config.types import NonNegativeInt, PositiveFloat, PositiveInt


@mixers.register("gla", "jaxlin.mixers.gla:GLA")
@dataclass(frozen=True, kw_only=True)
class GLA:
    """Linear attention with a data-dependent decay per key channel."""

    kind: Literal["gla"] = "gla"
    heads: PositiveInt = 4
    kv_heads: PositiveInt | None = None  # None: as many as heads
    expand_k: PositiveFloat = 0.5  # key width / model width
    expand_v: PositiveFloat = 1.0  # value width / model width
    # The ablation ladder of the paper: per key | per head, data-dependent | per head, fixed | none.
    gate: Literal["vector", "scalar", "constant", "none"] = "vector"
    gate_rank: PositiveInt = 16
    gate_tau: PositiveFloat = 16.0  # log decay = log sigmoid(.) / tau
    gate_min: float | None = None  # lower clamp of the log decay
    feature_map: Literal["identity", "silu", "relu", "elu1"] = "identity"
    output_gate: bool = True
    conv: NonNegativeInt = 0  # width of the short convolution on q, k, v; 0: none
    norm_eps: PositiveFloat = 1e-6

    def problems(self, width: int) -> list[str]:
        """What does not fit a model of this width, as `field: reason` lines."""
        found = uneven(self, width)
        if self.kv_heads is not None and self.heads % self.kv_heads:
            near = nearest_divisors(self.kv_heads, self.heads)
            found.append(f"kv_heads: {self.kv_heads} does not divide heads {self.heads}{near}")
        if self.gate_min is not None and self.gate_min > 0:
            found.append(f"gate_min: a log decay is at most 0, found {self.gate_min}")
        return found


def uneven(mixer: Any, width: int) -> list[str]:
    """Where heads do not divide the widths of all keys and all values, as `problems` tells it."""
    found = []
    for field in ("expand_k", "expand_v"):
        inner = width * getattr(mixer, field)
        if inner != int(inner) or int(inner) % mixer.heads:
            near = nearest_divisors(mixer.heads, max(1, int(inner)))
            found.append(f"heads: {mixer.heads} does not divide width * {field} = {inner:g}{near}")
    return found
