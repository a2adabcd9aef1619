"""Kimi Delta Attention (Kimi Team 2025, arXiv 2510.26692).

S <- Diag(a_t) S;  u = b_t (v_t - S^T k_t);  S <- S + k_t u^T;  o_t = S^T q_t / sqrt(k)
q, k, v = silu(conv(W x)), q and k of unit length; b = sigmoid(W_b x)
log a = -exp(A_log) softplus(W2 W1 x + dt_bias),  A_log a number per head, dt_bias one per channel
y = W_o (norm(o) * sigmoid(W4 W3 x + b)),  W1 and W3 to the width of one head
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlin.config.mixers.kda import KDA as Config
from jaxlin.mixers.base import (
    Mixer,
    RecurrentCache,
    continued_state,
    project,
    recurrent_cache,
    remembered,
)
from jaxlin.mixers.gated_deltanet import init_dt_bias, log_decay
from jaxlin.nn import Linear, RMSNorm, l2_norm, param, show
from kernels_pallas import delta_rule


def init_a_log(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """log A with A uniform in (1, 16)."""
    return jnp.log(jax.random.uniform(key, shape, dtype, minval=1.0, maxval=16.0))


class KDA(Mixer):
    """Sites q, k, v, beta, decay_down, decay_up, o and, with an output gate, gate_down, gate_up;
    parameters A_log [h] and dt_bias [h k]."""

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
        c, value_dim = self.config, int(self.config.head_dim * self.config.expand_v)
        made, tails = {}, {}
        for name, width in widths(c).items():
            y, tails[name] = project(self, name, x, width, c.heads, segment_ids, cache)
            made[name] = jax.nn.silu(y)
        wide = jnp.promote_types(self.dtype, jnp.float32)
        beta = jax.nn.sigmoid(self.linear("beta", c.heads, dtype=wide)(x))
        y, state = self.on_mesh(delta_rule, x.shape[1])(
            l2_norm(made["q"]),
            l2_norm(made["k"]),
            made["v"],
            show(self, "write_strength", 2 * beta if c.allow_neg_eigval else beta),
            self._log_decay(x, value_dim),
            initial_state=continued_state(cache, segment_ids),
            segment_ids=segment_ids,
        )
        show(self, "final_state", state)
        y = RMSNorm(c.norm_eps, name="norm")(y)
        if c.output_gate:
            gate = jax.nn.sigmoid(self._low_rank("gate", x, value_dim, value_dim, bias=True))
            y = y * show(self, "output_gate", gate)
        cache = remembered(cache, state, tails, segment_ids, x.shape[1])
        return self.output(y), cache

    def _low_rank(self, name: str, x: Array, rank: int, size: int, bias: bool = False) -> Array:
        """W_up W_down x as heads [b, t, h, size]."""
        c = self.config
        settings: Any = dict(dtype=self.dtype, std=self.std)
        low = Linear(rank, ("embed", None), name=f"{name}_down", **settings)(x)
        up = (None, "heads")
        return Linear(c.heads * size, up, name=f"{name}_up", bias=bias, heads=c.heads, **settings)(
            low
        )

    def _log_decay(self, x: Float[Array, "b t d"], rank: int) -> Float[Array, "b t h k"]:
        heads, size = self.config.heads, self.config.head_dim
        a_log = param(self, "A_log", init_a_log, ("heads",), (heads,))
        dt_bias = param(self, "dt_bias", init_dt_bias, ("heads",), (heads * size,))
        step = self._low_rank("decay", x, rank, size)
        decay = log_decay(step, a_log[:, None], dt_bias.reshape(heads, size))
        return show(self, "log_decay", decay)

    @staticmethod
    def init_cache(c: Config, width: int, batch: int, length: int, dtype: Any) -> RecurrentCache:
        """State [b, h, k, v] and the convolutions' tails; independent of `length`."""
        inner = widths(c)
        state = (batch, c.heads, c.head_dim, inner["v"] // c.heads)
        return recurrent_cache(state, inner if c.conv else {}, c.conv, dtype)


def widths(c: Config) -> dict[str, int]:
    """Widths of all queries, keys and values."""
    keys = c.heads * c.head_dim
    return {"q": keys, "k": keys, "v": c.heads * int(c.head_dim * c.expand_v)}
