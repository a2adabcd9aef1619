"""A residual block of mixer and feed-forward, and the repeating unit that depth scans over."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from jaxlin.config.exchange import Exchange
from jaxlin.config.model import LM
from jaxlin.mixers import build
from jaxlin.nn import RMSNorm, SwiGLU, tap
from kernels_pallas.exchange import RESIDUALS, SOFTMAX_RESIDUALS

REMAT = {
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims,
    "mixer": jax.checkpoint_policies.save_only_these_names("mixer_out"),
}


class Block(nn.Module):
    """x + mixer(norm(x)), then the same with the feed-forward.

    pre: x + f(norm x); post: norm(x + f(x)); peri: x + norm(f(norm x)).
    Taps: mixer_in, mixer_out, mixer_res, ffn_in, ffn_out, block_out [b, t, d].
    """

    model: LM
    mixer: Any
    exchange: Exchange = Exchange()  # along a sequence that is split over devices

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        cache: Any,
        segment_ids: Int[Array, "b t"] | None,
        positions: Int[Array, "b t"] | None,
        row: Any = None,  # what the mixer has to know of its depth
    ) -> tuple[Float[Array, "b t d"], Any]:
        c = self.model
        depth = math.sqrt(2 * c.layers) if c.rescale_residual else 1.0
        stds: Any = {"std": c.init_std, "out_std": c.init_std / depth}
        dtype = jnp.dtype(c.dtype)
        mixer = build(
            self.mixer, c.width, dtype=dtype, exchange=self.exchange, name="mixer", **stds
        )
        ffn = SwiGLU(c.ffn.width(c.width), dtype, name="ffn", **stds)

        h = tap(self, "mixer_in", self._before("mixer", x))
        given = {} if row is None else {"depth": row}
        h, cache = mixer(h, segment_ids=segment_ids, positions=positions, cache=cache, **given)
        h = checkpoint_name(tap(self, "mixer_out", h), "mixer_out")
        x = tap(self, "mixer_res", self._after("mixer", x, h))
        h = tap(self, "ffn_in", self._before("ffn", x))
        h = tap(self, "ffn_out", ffn(h))
        return tap(self, "block_out", self._after("ffn", x, h)), cache

    def _before(self, part: str, x: Array) -> Array:
        if self.model.norm == "post":
            return x
        return RMSNorm(self.model.norm_eps, name=f"{part}_norm")(x)

    def _after(self, part: str, x: Array, h: Array) -> Array:
        if self.model.norm == "pre":
            return x + h
        norm = RMSNorm(self.model.norm_eps, name=f"{part}_out_norm")
        return norm(x + h) if self.model.norm == "post" else x + norm(h)


class Unit(nn.Module):
    """The blocks of one repetition of a pattern: `layer_0`, `layer_1`, ..."""

    model: LM
    mixers: tuple[Any, ...]
    exchange: Exchange = Exchange()
    prevent_cse: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        caches: tuple[Any, ...],
        segment_ids: Int[Array, "b t"] | None,
        positions: Int[Array, "b t"] | None,
        rows: tuple[Any, ...],
    ) -> tuple[Float[Array, "b t d"], tuple[Any, ...]]:
        block, after = Block, []
        if self.model.remat != "none":
            # What has travelled between devices is kept: it would travel again.
            policy = jax.checkpoint_policies.save_from_both_policies(
                REMAT[self.model.remat],
                jax.checkpoint_policies.save_only_these_names(*RESIDUALS, *SOFTMAX_RESIDUALS),
            )
            block = nn.remat(Block, policy=policy, prevent_cse=self.prevent_cse)
        for i, mixer in enumerate(self.mixers):
            layer = block(self.model, mixer, self.exchange, name=f"layer_{i}")
            x, cache = layer(x, caches[i], segment_ids, positions, rows[i])
            after.append(cache)
        return x, tuple(after)


def stack(model: LM, mixers: tuple[Any, ...], repeats: int, exchange: Exchange) -> nn.Module:
    """`repeats` units with stacked parameters, run by one scan: traced once whatever the depth."""
    in_axes: Any = (0, nn.broadcast, nn.broadcast, 0)
    scanned = nn.scan(
        Unit,
        variable_axes={"params": 0, "adapters": 0, "taps": 0},
        split_rngs={"params": True},
        in_axes=in_axes,
        length=repeats,
        metadata_params={nn.PARTITION_NAME: "layers"},
    )
    # A scan of one step is inlined, and what remat computes twice would be merged again.
    return scanned(model, mixers, exchange, prevent_cse=repeats == 1)
