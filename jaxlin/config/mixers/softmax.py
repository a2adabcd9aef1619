"""Config of full (or windowed) softmax attention."""

from dataclasses import dataclass
from typing import Literal

from jaxlin.config.errors import nearest_divisors
from jaxlin.config.registry import mixers
from jaxlin.config.types import PositiveFloat, PositiveInt


@mixers.register("softmax", "jaxlin.mixers.softmax:Softmax")
@dataclass(frozen=True, kw_only=True)
class Softmax:
    """Causal multi-head attention, grouped queries, rotary positions (half-split)."""

    kind: Literal["softmax"] = "softmax"
    heads: PositiveInt = 16
    kv_heads: PositiveInt | None = None  # None: as many as heads
    head_dim: PositiveInt | None = None  # None: width / heads
    rope_base: PositiveFloat | None = 10000.0  # None: no positions (NoPE)
    window: PositiveInt | None = None  # tokens seen, itself included; None: all
    qk_norm: bool = False  # RMSNorm of q and k per head
    qkv_bias: bool = False
    norm_eps: PositiveFloat = 1e-6

    def problems(self, width: int) -> list[str]:
        """What does not fit a model of this width, as `field: reason` lines."""
        found = []
        if self.head_dim is None and width % self.heads:
            near = nearest_divisors(self.heads, width)
            found.append(f"heads: {self.heads} does not divide the width {width}{near}")
        if self.kv_heads is not None and self.heads % self.kv_heads:
            near = nearest_divisors(self.kv_heads, self.heads)
            found.append(f"kv_heads: {self.kv_heads} does not divide heads {self.heads}{near}")
        size = self.head_dim or width // self.heads
        if self.rope_base is not None and size % 2:
            found.append(f"head_dim: rotary positions need an even size, found {size}")
        return found
