"""HGRN-2 (Qin et al. 2024, arXiv 2404.07904).

f_t = lb + (1 - lb) sigmoid(W_f x);  k_t = 1 - f_t;  v_t = W_i x;  q_t = silu(W_q x)
S_t = Diag(f_t) S_{t-1} + k_t v_t^T;  o_t = S_t^T q_t / sqrt(k)
y = W_o norm(o),  norm over all heads together; lb as in jaxlin.mixers.hgrn
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float, Int

from jaxlin.config.mixers.hgrn2 import HGRN2 as Config
from jaxlin.mixers.base import (
    DepthParameter,
    Mixer,
    RecurrentCache,
    continued_state,
    project,
    recurrent_cache,
    remembered,
)
from jaxlin.mixers.hgrn import bounds, forget
from jaxlin.nn import RMSNorm, show
from kernels_pallas import linear_attention


class HGRN2(Mixer):
    """Sites q, f, i, o and, with an output gate, gate."""

    config: Config

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        *,
        segment_ids: Int[Array, "b t"] | None = None,
        positions: Int[Array, "b t"] | None = None,
        cache: RecurrentCache | None = None,
        depth: Float[Array, " d"] | None = None,
    ) -> tuple[Float[Array, "b t d"], RecurrentCache | None]:
        c, d = self.config, self.width
        made, tails = {}, {}
        for name in "qfi":
            made[name], tails[name] = project(self, name, x, d, c.heads, segment_ids, cache)
        bound = None if depth is None else depth.reshape(c.heads, -1)
        log_f, k = forget(made["f"], bound)
        show(self, "log_decay", log_f)
        y, state = self.on_mesh(linear_attention, x.shape[1])(
            jax.nn.silu(made["q"]),
            k.astype(self.dtype),
            made["i"],
            log_f,
            initial_state=continued_state(cache, segment_ids),
            segment_ids=segment_ids,
        )
        show(self, "final_state", state)
        y = RMSNorm(c.norm_eps, "heads", name="norm")(y.reshape(x.shape))
        if c.output_gate:
            gate = jax.nn.silu(self.linear("gate", d)(x))
            y = y * show(self, "output_gate", gate)
        cache = remembered(cache, state, tails, segment_ids, x.shape[1])
        return self.output(y), cache

    @staticmethod
    def rows(
        c: Config, width: int, layers: int, parameter: DepthParameter
    ) -> Float[Array, "l d"] | None:
        """The lower bounds [l, d]."""
        return bounds(c.lower_bound, layers, width, parameter)

    @staticmethod
    def init_cache(c: Config, width: int, batch: int, length: int, dtype: Any) -> RecurrentCache:
        """State [b, h, k, v] and the convolutions' tails; independent of `length`."""
        state = (batch, c.heads, width // c.heads, width // c.heads)
        return recurrent_cache(state, dict.fromkeys("qfi", width) if c.conv else {}, c.conv, dtype)
