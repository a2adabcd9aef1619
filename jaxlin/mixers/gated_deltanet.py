"""Gated DeltaNet (Yang et al. 2025, arXiv 2412.06464).

S <- a_t S;  u = b_t (v_t - S^T k_t);  S <- S + k_t u^T;  o_t = S^T q_t / sqrt(k)
q, k, v = silu(conv(W x)), q and k of unit length; b = sigmoid(W_b x)
log a = -exp(A_log) softplus(W_a x + dt_bias)
y = W_o (norm(o) * silu(W_g x))
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet as Config
from jaxlin.mixers.base import (
    Mixer,
    RecurrentCache,
    continued_state,
    convolve,
    last_segments,
    recurrent_cache,
)
from jaxlin.nn import RMSNorm, l2_norm, param, show
from kernels_pallas import delta_rule


def log_decay(
    x: Float[Array, "b t *h"], a_log: Float[Array, "..."], dt_bias: Float[Array, "*h"]
) -> Float[Array, "b t *h"]:
    """log a = -exp(A_log) softplus(x + dt_bias), float32 (Dao and Gu 2024, arXiv 2405.21060)."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return -jnp.exp(a_log.astype(wide)) * jax.nn.softplus(x.astype(wide) + dt_bias)


def init_a_log(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """log A with A uniform in (0, 16)."""
    tiny = jnp.finfo(jnp.float32).tiny
    return jnp.log(jax.random.uniform(key, shape, dtype, minval=tiny, maxval=16.0))


def init_dt_bias(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """The inverse softplus of dt, log-uniform in [1e-3, 1e-1] and at least 1e-4."""
    low, high = jnp.log(1e-3), jnp.log(1e-1)
    dt = jnp.maximum(jnp.exp(jax.random.uniform(key, shape, dtype, low, high)), 1e-4)
    return dt + jnp.log(-jnp.expm1(-dt))


class GatedDeltaNet(Mixer):
    """Sites q, k, v, beta, decay, gate, o; parameters A_log and dt_bias [h]."""

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
        value_heads, widths = c.value_heads or c.heads, sizes(c)
        split, tails = {}, {}
        for name, heads in (("q", c.heads), ("k", c.heads), ("v", value_heads)):
            y = self.linear(name, widths[name])(x)
            if c.conv:
                y, tails[name] = convolve(self, name, y, segment_ids, cache)
            # Split first: the activation then writes heads, the layout of the kernels.
            split[name] = jax.nn.silu(y.reshape(*y.shape[:2], heads, -1))
        normed = l2_norm if c.qk_norm == "l2" else jax.nn.softmax
        q, k = (normed(split[name]) for name in "qk")
        q, k = (jnp.repeat(a, value_heads // c.heads, axis=2) for a in (q, k))
        wide = jnp.promote_types(self.dtype, jnp.float32)
        beta = jax.nn.sigmoid(self.linear("beta", value_heads, dtype=wide)(x))
        beta = show(self, "write_strength", 2 * beta if c.allow_neg_eigval else beta)
        y, state = self.on_mesh(delta_rule, x.shape[1])(
            q,
            k,
            split["v"],
            beta,
            self._log_decay(x, value_heads),
            initial_state=continued_state(cache, segment_ids),
            segment_ids=segment_ids,
        )
        show(self, "final_state", state)
        y = RMSNorm(c.norm_eps, name="norm")(y)
        if c.gate:
            gate = jax.nn.silu(self.linear("gate", widths["v"], heads=value_heads)(x))
            y = y * show(self, "output_gate", gate)
        if cache is not None:
            cache = RecurrentCache(state, tails, last_segments(cache, segment_ids, x.shape[1]))
        return self.output(y), cache

    def _log_decay(self, x: Array, heads: int) -> Array | None:
        if self.config.decay == "none":
            return None
        a_log = param(self, "A_log", init_a_log, ("heads",), (heads,))
        dt_bias = param(self, "dt_bias", init_dt_bias, ("heads",), (heads,))
        wide = jnp.promote_types(self.dtype, jnp.float32)
        decay = log_decay(self.linear("decay", heads, dtype=wide)(x), a_log, dt_bias)
        return show(self, "log_decay", decay)

    @staticmethod
    def init_cache(c: Config, width: int, batch: int, length: int, dtype: Any) -> RecurrentCache:
        """State [b, h, k, v] and the convolutions' tails; independent of `length`."""
        heads, widths = c.value_heads or c.heads, sizes(c)
        state = (batch, heads, c.head_dim, widths["v"] // heads)
        return recurrent_cache(state, widths if c.conv else {}, c.conv, dtype)


def sizes(c: Config) -> dict[str, int]:
    """Widths of all queries, keys and values."""
    keys = c.heads * c.head_dim
    values = (c.value_heads or c.heads) * int(c.head_dim * c.expand_v)
    return {"q": keys, "k": keys, "v": values}
