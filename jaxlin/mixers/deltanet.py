"""DeltaNet (Yang et al. 2024, arXiv 2406.06484).

u = b_t (v_t - S^T k_t);  S <- S + k_t u^T;  o_t = S^T q_t / sqrt(k)
q, k, v = silu(conv(W x)), q and k of unit length; b = sigmoid(W_b x)
y = W_o norm(o), or W_o (norm(o) * silu(W_g x))
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlin.config.mixers.deltanet import DeltaNet as Config
from jaxlin.mixers.base import (
    Mixer,
    RecurrentCache,
    continued_state,
    project,
    recurrent_cache,
    remembered,
)
from jaxlin.nn import FEATURE_MAPS, RMSNorm, l2_norm, show
from kernels_pallas import delta_rule


class DeltaNet(Mixer):
    """Sites q, k, v, beta, o and, with an output gate, gate."""

    config: Config

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        *,
        segment_ids: Int[Array, "b t"] | None = None,
        positions: Int[Array, "b t"] | None = None,
        cache: RecurrentCache | None = None,
    ) -> tuple[Float[Array, "b t d"], RecurrentCache | None]:
        c = self.config
        made, tails = {}, {}
        for name, width in widths(c, self.width).items():
            made[name], tails[name] = project(self, name, x, width, c.heads, segment_ids, cache)
        q, k = (self._key(made[name]) for name in "qk")
        y, state = self.on_mesh(delta_rule, x.shape[1])(
            q,
            k,
            jax.nn.silu(made["v"]),
            show(self, "write_strength", self._beta(x)),
            initial_state=continued_state(cache, segment_ids),
            segment_ids=segment_ids,
        )
        show(self, "final_state", state)
        y = RMSNorm(c.norm_eps, name="norm")(y)
        if c.output_gate:
            width = widths(c, self.width)["v"]
            gate = jax.nn.silu(self.linear("gate", width, heads=c.heads)(x))
            y = y * show(self, "output_gate", gate)
        cache = remembered(cache, state, tails, segment_ids, x.shape[1])
        return self.output(y), cache

    def _key(self, x: Float[Array, "b t h k"]) -> Float[Array, "b t h k"]:
        """A query or key: its features, of length 1 or with the sum 1."""
        x = FEATURE_MAPS[self.config.feature_map](x)
        return l2_norm(x) if self.config.qk_norm == "l2" else x / x.sum(-1, keepdims=True)

    def _beta(self, x: Float[Array, "b t d"]) -> Float[Array, "b t h"]:
        c, wide = self.config, jnp.promote_types(self.dtype, jnp.float32)
        if c.beta:
            beta = jax.nn.sigmoid(self.linear("beta", c.heads, dtype=wide)(x))
        else:
            beta = jnp.ones((*x.shape[:2], c.heads), wide)
        return 2 * beta if c.allow_neg_eigval else beta

    @staticmethod
    def init_cache(c: Config, width: int, batch: int, length: int, dtype: Any) -> RecurrentCache:
        """State [b, h, k, v] and the convolutions' tails; independent of `length`."""
        inner = widths(c, width)
        state = (batch, c.heads, inner["k"] // c.heads, inner["v"] // c.heads)
        return recurrent_cache(state, inner if c.conv else {}, c.conv, dtype)


def widths(c: Config, width: int) -> dict[str, int]:
    """Widths of all queries, keys and values."""
    keys = int(width * c.expand_k)
    return {"q": keys, "k": keys, "v": int(width * c.expand_v)}
