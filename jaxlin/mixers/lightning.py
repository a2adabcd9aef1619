"""Lightning attention, the linear attention of TransNormerLLM (Qin et al. 2023, arXiv 2307.14995;
2024, arXiv 2401.04658).

S_t = exp(-s) S_{t-1} + k_t v_t^T,  o_t = S_t^T q_t;  s >= 0 fixed, of the head and of the depth
q, k = silu(W x), v = W_v x;  y = W_o (norm(o) * W_u x),  norm over all channels, without a scale
"""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlin.config.mixers.lightning import Lightning as Config
from jaxlin.mixers.base import (
    DepthParameter,
    Mixer,
    RecurrentCache,
    continued_state,
    positions_of,
    project,
    recurrent_cache,
    remembered,
)
from jaxlin.nn import param, rms_norm, show
from kernels_pallas import linear_attention


def alibi(heads: int) -> list[float]:
    """2^(-8(h+1)/H); for H no power of two those of the power below, then every other one of twice
    that power."""
    power = 2 ** int(math.log2(heads))
    series = lambda n: [2 ** (-8 * (h + 1) / n) for h in range(n)]  # noqa: E731
    return series(power) + series(2 * power)[::2][: heads - power]


def log_decays(kind: str, layers: int, heads: int) -> Float[Array, "l h"]:
    """-s of every layer and head."""
    layer, head = jnp.arange(layers)[:, None], jnp.arange(heads)[None, :]
    if kind == "alibi":
        return -jnp.array(alibi(heads)) * (1 - layer / max(1, layers - 1) + 1e-5)
    if kind == "tnl":  # counted from 1: the last layer keeps everything
        return -8 * (head + 1) / heads * (1 - (layer + 1) / layers)
    return -8 * head / heads * (1 - layer / layers)


def lrpe(
    x: Float[Array, "b t h k"], theta: Float[Array, "h k"], positions: Int[Array, "b t"]
) -> Float[Array, "b t h 2*k"]:
    """x cos(theta t) beside x sin(theta t): products q k become sum_c q_c k_c cos(theta_c (t-j)).

    Source: Qin et al. 2023, arXiv 2307.09270 (the form of the released TransNormerLLM).
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    angle = positions[:, :, None, None].astype(wide) * theta.astype(wide)
    return jnp.concatenate([x * jnp.cos(angle), x * jnp.sin(angle)], axis=-1).astype(x.dtype)


def init_theta(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """10000^(-2j/d) of channel j."""
    return 10000.0 ** (-2.0 * jnp.arange(shape[0], dtype=dtype) / shape[0])


class Lightning(Mixer):
    """Sites q, k, v, gate, o; parameter theta [d] where positions are learned."""

    config: Config

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        *,
        segment_ids: Int[Array, "b t"] | None = None,
        positions: Int[Array, "b t"] | None = None,
        cache: RecurrentCache | None = None,
        depth: Float[Array, " h"] | None = None,
    ) -> tuple[Float[Array, "b t d"], RecurrentCache | None]:
        c, d = self.config, self.width
        made, tails = {}, {}
        for name in "qkv":
            made[name], tails[name] = project(self, name, x, d, c.heads, segment_ids, cache)
        q, k = jax.nn.silu(made["q"]), jax.nn.silu(made["k"])
        if c.lrpe:
            theta = param(self, "theta", init_theta, ("heads",), (d,)).reshape(c.heads, -1)
            if positions is None:
                positions = positions_of(x, segment_ids, cache)
            q, k = lrpe(q, theta, positions), lrpe(k, theta, positions)
        if depth is None and c.decay != "none":  # called on its own: the only layer
            depth = log_decays(c.decay, 1, c.heads)[0]
        if depth is not None:
            show(self, "log_decay", depth)
        y, state = self.on_mesh(linear_attention, x.shape[1])(
            q,
            k,
            made["v"],
            depth,
            scale=1.0,
            initial_state=continued_state(cache, segment_ids),
            segment_ids=segment_ids,
        )
        show(self, "final_state", state)
        y = rms_norm(y.reshape(x.shape), jnp.ones(d), c.norm_eps)
        if c.output_gate:
            y = y * show(self, "output_gate", self.linear("gate", d)(x))
        cache = remembered(cache, state, tails, segment_ids, x.shape[1], positions)
        return self.output(y), cache

    @staticmethod
    def rows(
        c: Config, width: int, layers: int, parameter: DepthParameter
    ) -> Float[Array, "l h"] | None:
        """The log decays [l, h]."""
        return None if c.decay == "none" else log_decays(c.decay, layers, c.heads)

    @staticmethod
    def init_cache(c: Config, width: int, batch: int, length: int, dtype: Any) -> RecurrentCache:
        """State [b, h, k, v], tails of the convolutions, position; independent of `length`."""
        size = width // c.heads
        state = (batch, c.heads, size * (2 if c.lrpe else 1), size)
        tails = dict.fromkeys("qkv", width) if c.conv else {}
        return recurrent_cache(state, tails, c.conv, dtype, positions=c.lrpe)
