"""SwiGLU feed-forward (Shazeer 2020, arXiv 2002.05202)."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlin.nn.linear import Linear, tap


class SwiGLU(nn.Module):
    """down(silu(gate x) * up x), no biases. Sites gate, up, down; tap ffn_hidden [b, t, hidden]."""

    hidden: int
    dtype: Any = jnp.float32
    std: float = 0.02
    out_std: float = 0.02

    @nn.compact
    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        wide = ("embed", "mlp")
        gate = Linear(self.hidden, wide, self.dtype, std=self.std, name="gate")(x)
        up = Linear(self.hidden, wide, self.dtype, std=self.std, name="up")(x)
        hidden = tap(self, "ffn_hidden", jax.nn.silu(gate) * up)
        down = Linear(x.shape[-1], ("mlp", "embed"), self.dtype, std=self.out_std, name="down")
        return down(hidden)
