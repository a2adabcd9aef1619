"""HGRN, its real form (Qin et al. 2023, arXiv 2311.04823).

f_t = lb + (1 - lb) sigmoid(W_f x);  h_t = f_t * h_{t-1} + (1 - f_t) * silu(W_i x)
y = W_o (norm(h) * silu(W_g x)),  norm over all channels
lb of layer i = sum_{1 <= j <= i} P_j,  P = softmax of Gamma [l, d] over the layers
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlin.config.mixers.hgrn import HGRN as Config
from jaxlin.mixers.base import (
    DepthParameter,
    Mixer,
    RecurrentCache,
    continued_state,
    convolve,
    recurrent_cache,
    remembered,
)
from jaxlin.nn import RMSNorm, show
from kernels_pallas import linear_recurrence


def bounds(
    kind: str, layers: int, width: int, parameter: DepthParameter
) -> Float[Array, "l d"] | None:
    """Lower bounds of all layers: 0 in the first, rising, below 1. kind: learned, fixed or none.

    Gamma starts at 0, where the bound of layer i is i / layers. It decays like any weight: towards
    that schedule, since the softmax sees differences between layers alone.
    """
    if kind == "none":
        return None
    if kind == "fixed":
        return jnp.broadcast_to(
            jnp.arange(layers, dtype=jnp.float32)[:, None] / layers, (layers, width)
        )
    gamma = parameter("lower_bounds", nn.initializers.zeros, ("heads",), (width,))
    share = jax.nn.softmax(gamma, axis=0).at[0].set(0)
    return jnp.minimum(jnp.cumsum(share, axis=0), 1)


def forget(
    z: Float[Array, "*shape"], bound: Float[Array, "..."] | None
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """log f and 1 - f of f = lb + (1 - lb) sigmoid(z), in float32; lb = 0 where None.

    f = sigmoid(z) + lb sigmoid(-z), so that nothing is lost where lb reaches 1; and 1 - f is a
    product, for exp(log f) has no digits left near 1.
    """
    z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
    log_f, rest = jax.nn.log_sigmoid(z), jax.nn.sigmoid(-z)
    if bound is None:
        return log_f, rest
    log_bound = jnp.log(jnp.where(bound > 0, bound, 1))  # 1: a gradient that is finite, and unused
    bounded = jnp.logaddexp(log_f, log_bound + jax.nn.log_sigmoid(-z))
    return jnp.where(bound > 0, jnp.minimum(bounded, 0), log_f), (1 - bound) * rest


class HGRN(Mixer):
    """Sites i, f, gate, o."""

    config: Config

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        *,
        segment_ids: Int[Array, "b t"] | None = None,
        positions: Int[Array, "b t"] | None = None,
        cache: RecurrentCache | None = None,
        depth: Float[Array, " inner"] | None = None,
    ) -> tuple[Float[Array, "b t d"], RecurrentCache | None]:
        c = self.config
        inner, made, tails = size(c, self.width), {}, {}
        for name in "if":
            made[name] = self.linear(name, inner)(x)
            if c.conv:
                made[name], tails[name] = convolve(self, name, made[name], segment_ids, cache)
        log_f, rest = forget(made["f"], depth)
        show(self, "log_decay", log_f)
        h, state = self.on_mesh(linear_recurrence, x.shape[1])(
            (jax.nn.silu(made["i"]) * rest).astype(self.dtype),
            log_f,
            initial_state=continued_state(cache, segment_ids),
            segment_ids=segment_ids,
        )
        show(self, "final_state", state)
        y = RMSNorm(c.norm_eps, "heads", name="norm")(h)
        if c.output_gate:
            gate = jax.nn.silu(self.linear("gate", inner)(x))
            y = y * show(self, "output_gate", gate)
        cache = remembered(cache, state, tails, segment_ids, x.shape[1])
        return self.output(y), cache

    @staticmethod
    def rows(
        c: Config, width: int, layers: int, parameter: DepthParameter
    ) -> Float[Array, "l inner"] | None:
        """The lower bounds [l, d]."""
        return bounds(c.lower_bound, layers, size(c, width), parameter)

    @staticmethod
    def init_cache(c: Config, width: int, batch: int, length: int, dtype: Any) -> RecurrentCache:
        """State [b, d] and the convolutions' tails; independent of `length`."""
        inner = size(c, width)
        tails = {"i": inner, "f": inner} if c.conv else {}
        return recurrent_cache((batch, inner), tails, c.conv, dtype)


def size(c: Config, width: int) -> int:
    """Channels of the state."""
    return int(width * c.expand_ratio)
