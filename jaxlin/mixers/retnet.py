"""RetNet: multi-scale retention (Sun et al. 2023, arXiv 2307.08621).

S_t = g_h S_{t-1} + k_t v_t^T,  o_t = S_t^T q_t / sqrt(k);  q and k are turned by their positions
y = W_o (norm(o) * silu(W_g x)),  g_h = 1 - 2^(-5-h), constant
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlin.config.mixers.retnet import RetNet as Config
from jaxlin.mixers.base import (
    Mixer,
    RecurrentCache,
    continued_state,
    positions_of,
    project,
    recurrent_cache,
    remembered,
)
from jaxlin.nn import RMSNorm, rotate, show
from kernels_pallas import linear_attention


def multiscale(heads: int) -> Float[Array, " h"]:
    """log(1 - 2^(-5-h)), float32: the half-life of each head is twice that of the one before."""
    return jnp.log1p(-(2.0 ** (-5.0 - jnp.arange(heads, dtype=jnp.float32))))


def log_decay(kind: str, heads: int) -> Float[Array, " h"] | None:
    """The decay of each head: multiscale, single (1 - 2^-6.5 for all of them) or none."""
    if kind == "none":
        return None
    return multiscale(heads) if kind == "multiscale" else jnp.full(heads, math.log1p(-(2**-6.5)))


class RetNet(Mixer):
    """Sites q, k, v, gate, o."""

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
            y, tails[name] = project(self, name, x, width, c.heads, segment_ids, cache)
            made[name] = jax.nn.silu(y) if c.conv else y
        if c.rope_base is not None:
            if positions is None:
                positions = positions_of(x, segment_ids, cache)
            made |= {name: rotate(made[name], positions, c.rope_base) for name in "qk"}
        decay = log_decay(c.decay, c.heads)
        if decay is not None:
            show(self, "log_decay", decay)
        y, state = self.on_mesh(linear_attention, x.shape[1])(
            made["q"],
            made["k"],
            made["v"],
            decay,
            initial_state=continued_state(cache, segment_ids),
            segment_ids=segment_ids,
        )
        show(self, "final_state", state)
        y = RMSNorm(c.norm_eps, name="norm")(y)
        if c.output_gate:
            width = widths(c, self.width)["v"]
            gate = jax.nn.silu(self.linear("gate", width, heads=c.heads)(x))
            y = y * show(self, "output_gate", gate)
        cache = remembered(cache, state, tails, segment_ids, x.shape[1], positions)
        return self.output(y), cache

    @staticmethod
    def init_cache(c: Config, width: int, batch: int, length: int, dtype: Any) -> RecurrentCache:
        """State [b, h, k, v], tails of the convolutions, position; independent of `length`."""
        inner = widths(c, width)
        state = (batch, c.heads, inner["k"] // c.heads, inner["v"] // c.heads)
        tails, turned = inner if c.conv else {}, c.rope_base is not None
        return recurrent_cache(state, tails, c.conv, dtype, positions=turned)


def widths(c: Config, width: int) -> dict[str, int]:
    """Widths of all queries, keys and values."""
    keys = int(width * c.expand_k)
    return {"q": keys, "k": keys, "v": int(width * c.expand_v)}
