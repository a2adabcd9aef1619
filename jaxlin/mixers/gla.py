"""Gated linear attention (Yang et al. 2024, arXiv 2312.06635).

S_t = Diag(a_t) S_{t-1} + k_t v_t^T,  o_t = S_t^T q_t / sqrt(k)
log a_t = log sigmoid(W2 W1 x_t + b) / tau
y = W_o (norm(o) * silu(W_r x))
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlin.config.mixers.gla import GLA as Config
from jaxlin.mixers.base import (
    Mixer,
    RecurrentCache,
    continued_state,
    convolve,
    last_segments,
    recurrent_cache,
)
from jaxlin.mixers.retnet import multiscale
from jaxlin.nn import FEATURE_MAPS, Linear, RMSNorm, show
from kernels_pallas import linear_attention


def log_decay(
    gate: Float[Array, "*batch"], tau: float, minimum: float | None
) -> Float[Array, "*batch"]:
    """log a = log sigmoid(gate) / tau, float32, not below `minimum` (section 4.4)."""
    wide = jnp.promote_types(gate.dtype, jnp.float32)
    g = jax.nn.log_sigmoid(gate.astype(wide)) / tau
    return g if minimum is None else jnp.maximum(g, minimum)


class GLA(Mixer):
    """Sites q, k, v, gate, o and, for the decay, decay_down, decay_up."""

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
        key_width, value_width = sizes(c, self.width)
        kv_heads = c.kv_heads or c.heads
        shared = c.heads // kv_heads  # query heads for each key head
        outputs = {
            "q": (key_width, "heads", c.heads),
            "k": (key_width // shared, "kv_heads", kv_heads),
            "v": (value_width // shared, "kv_heads", kv_heads),
        }
        split, tails = {}, {}
        for name, (width, axis, heads) in outputs.items():
            # Without a convolution the product writes heads, the layout of the kernels.
            y = self.linear(name, width, axis, heads=None if c.conv else heads)(x)
            if c.conv:
                y, tails[name] = convolve(self, name, y, segment_ids, cache)
                y = jax.nn.silu(y.reshape(*y.shape[:2], heads, -1))
            split[name] = y
        q, k = (FEATURE_MAPS[c.feature_map](split[name]) for name in "qk")
        k, v = (jnp.repeat(a, shared, axis=2) for a in (k, split["v"]))
        decay = self._log_decay(x, kv_heads, key_width // c.heads)
        if decay is not None:
            decay = decay if decay.ndim == 1 else jnp.repeat(decay, shared, axis=2)
            show(self, "log_decay", decay)
        state = continued_state(cache, segment_ids)
        y, state = self.on_mesh(linear_attention, x.shape[1])(
            q, k, v, decay, initial_state=state, segment_ids=segment_ids
        )
        show(self, "final_state", state)
        y = RMSNorm(c.norm_eps, name="norm")(y)
        if c.output_gate:
            gate = jax.nn.silu(self.linear("gate", value_width, heads=c.heads)(x))
            y = y * show(self, "output_gate", gate)
        if cache is not None:
            cache = RecurrentCache(state, tails, last_segments(cache, segment_ids, x.shape[1]))
        return self.output(y), cache

    def _log_decay(self, x: Array, heads: int, head_dim: int) -> Array | None:
        c = self.config
        if c.gate == "none":
            return None
        if c.gate == "constant":  # the schedule of RetNet, log(1 - 2^(-5-i))
            return multiscale(c.heads)
        features = heads * (head_dim if c.gate == "vector" else 1)
        low = Linear(c.gate_rank, ("embed", None), self.dtype, std=self.std, name="decay_down")(x)
        up = Linear(features, (None, "kv_heads"), self.dtype, True, self.std, name="decay_up")
        gate = up(low).reshape(*x.shape[:2], heads, -1)
        gate = gate if c.gate == "vector" else gate[..., 0]
        return log_decay(gate, c.gate_tau, c.gate_min)

    @staticmethod
    def init_cache(c: Config, width: int, batch: int, length: int, dtype: Any) -> RecurrentCache:
        """State [b, h, k, v] and the convolutions' tails; independent of `length`."""
        key_width, value_width = sizes(c, width)
        shared = c.heads // (c.kv_heads or c.heads)
        tails = {"q": key_width, "k": key_width // shared, "v": value_width // shared}
        state = (batch, c.heads, key_width // c.heads, value_width // c.heads)
        return recurrent_cache(state, tails if c.conv else {}, c.conv, dtype)


def sizes(c: Config, width: int) -> tuple[int, int]:
    """Widths of all keys and of all values."""
    return int(width * c.expand_k), int(width * c.expand_v)
