"""Causal softmax attention with grouped queries, rotary positions and an optional window.

o_t = sum_{s <= t} softmax_s(q_t k_s / sqrt(k)) v_s   over tokens s of t's document and window
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxlin.config.mixers.softmax import Softmax as Config
from jaxlin.mixers.base import Mixer, positions_after
from jaxlin.nn import RMSNorm, positions_in, rotate
from jaxlin.nn.attention import causal_attention
from jaxlin.nn.slices import on_slices, time_axes
from kernels_pallas.exchange import softmax_attention_across


class KVCache(NamedTuple):
    """Keys and values of the past in `s` slots, used as a ring: token i lies in slot i mod s."""

    k: Float[Array, "b s h k"]  # rotated
    v: Float[Array, "b s h k"]
    segments: Int[Array, "b s"]  # document ids
    index: Int[Array, "b s"]  # which token lies in the slot; -1: none
    seen: Int[Array, " b"]  # tokens so far
    position: Int[Array, " b"]  # that the next token has if it continues the last document


def visible(
    query_index: Int[Array, "b t"],
    key_index: Int[Array, "b s"],
    query_segments: Int[Array, "b t"],
    key_segments: Int[Array, "b s"],
    window: int | None,
) -> Bool[Array, "b 1 t s"]:
    """Which keys a query may see: written, not later, of the same document, within the window."""
    distance = query_index[:, :, None] - key_index[:, None, :]
    mask = (distance >= 0) & (key_index[:, None, :] >= 0)
    mask &= query_segments[:, :, None] == key_segments[:, None, :]
    if window is not None:
        mask &= distance < window
    return mask[:, None]


def append(
    cache: KVCache,
    k: Float[Array, "b t h k"],
    v: Float[Array, "b t h v"],
    segment_ids: Int[Array, "b t"],
    positions: Int[Array, "b t"],
) -> KVCache:
    """The cache after these tokens; the oldest give way when the slots are full."""
    slots, t = cache.k.shape[1], k.shape[1]
    kept = min(slots, t)
    index = cache.seen[:, None] + jnp.arange(t - kept, t, dtype=jnp.int32)
    rows = jnp.arange(k.shape[0])[:, None]
    put = lambda old, new: old.at[rows, index % slots].set(new[:, t - kept :])  # noqa: E731
    return KVCache(
        k=put(cache.k, k.astype(cache.k.dtype)),
        v=put(cache.v, v.astype(cache.v.dtype)),
        segments=put(cache.segments, segment_ids),
        index=cache.index.at[rows, index % slots].set(index),
        seen=cache.seen + t,
        position=positions[:, -1] + 1,
    )


class Softmax(Mixer):
    """Sites q, k, v, o."""

    config: Config

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t d"],
        *,
        segment_ids: Int[Array, "b t"] | None = None,
        positions: Int[Array, "b t"] | None = None,
        cache: KVCache | None = None,
    ) -> tuple[Float[Array, "b t d"], KVCache | None]:
        q, k, v = self._project(x)
        if positions is None:
            positions = _positions(x, segment_ids, cache)
        if self.config.rope_base is not None:
            q = rotate(q, positions, self.config.rope_base)
            k = rotate(k, positions, self.config.rope_base)
        if cache is not None:
            y, cache = self._continue(q, k, v, segment_ids, positions, cache)
        else:
            y = self._attend_all(q, k, v, segment_ids)
        return self.output(y), cache

    def _project(self, x: Array) -> tuple[Array, Array, Array]:
        c = self.config
        kv_heads, size = c.kv_heads or c.heads, head_dim(c, self.width)
        split = lambda a, h: a.reshape(*a.shape[:2], h, size)  # noqa: E731
        q = split(self.linear("q", c.heads * size, bias=c.qkv_bias)(x), c.heads)
        k, v = (
            split(self.linear(n, kv_heads * size, "kv_heads", bias=c.qkv_bias)(x), kv_heads)
            for n in "kv"
        )
        if c.qk_norm:
            q = RMSNorm(c.norm_eps, name="q_norm")(q)
            k = RMSNorm(c.norm_eps, name="k_norm")(k)
        return q, k, v

    def _attend_all(self, q: Array, k: Array, v: Array, segment_ids: Array | None) -> Array:
        axes = time_axes(q.shape[1])
        if axes:
            return self._attend_across(axes, q, k, v, segment_ids)
        return causal_attention(q, k, v, segment_ids=segment_ids, window=self.config.window)

    def _attend_across(
        self, axes: tuple[str, ...], q: Array, k: Array, v: Array, segment_ids: Array | None
    ) -> Array:
        """The same over a sequence that devices hold slices of."""
        attend = functools.partial(
            softmax_attention_across,
            axis=axes,
            method=self.exchange.softmax,
            window=self.config.window,
        )
        heads = {"q": ("bthk", q), "k": ("bthk", k), "v": ("bthk", v)}
        return on_slices(attend, heads | {"segment_ids": ("bt", segment_ids)}, "bthk")

    def _continue(
        self,
        q: Array,
        k: Array,
        v: Array,
        segment_ids: Array | None,
        positions: Array,
        cache: KVCache,
    ) -> tuple[Array, KVCache]:
        t, slots = q.shape[1], cache.k.shape[1]
        if self.config.window is None and t > slots:
            raise ValueError(
                f"{t} tokens do not fit a cache of {slots} slots; make it with init_cache(..., "
                f"length={t}) or longer, or give the attention a window"
            )
        index = cache.seen[:, None] + jnp.arange(t, dtype=jnp.int32)
        if segment_ids is None:
            segment_ids = jnp.repeat(_last_segment(cache)[:, None], t, axis=1)
        after = append(cache, k, v, segment_ids, positions)
        # A step's query cannot see what the ring dropped; without a window nothing is dropped.
        if t == 1 or self.config.window is None:
            k, v, key_index, key_segments = after.k, after.v, after.index, after.segments
        else:
            k = jnp.concatenate([cache.k.astype(k.dtype), k], axis=1)
            v = jnp.concatenate([cache.v.astype(v.dtype), v], axis=1)
            key_index = jnp.concatenate([cache.index, index], axis=1)
            key_segments = jnp.concatenate([cache.segments, segment_ids], axis=1)
        mask = visible(index, key_index, segment_ids, key_segments, self.config.window)
        k, v = k.astype(q.dtype), v.astype(q.dtype)
        return jax.nn.dot_product_attention(q, k, v, mask=mask), after

    @staticmethod
    def init_cache(c: Config, width: int, batch: int, length: int, dtype: Any) -> KVCache:
        """Room for `length` tokens, or for the window if that is less."""
        slots = length if c.window is None else min(length, c.window)
        shape = (batch, slots, c.kv_heads or c.heads, head_dim(c, width))
        none = jnp.full((batch, slots), -1, jnp.int32)
        zeros = jnp.zeros(shape, dtype)
        count = jnp.zeros((batch,), jnp.int32)
        return KVCache(zeros, zeros, none, none, count, count)


def head_dim(c: Config, width: int) -> int:
    """Width of one head."""
    return c.head_dim or width // c.heads


def _last_segment(cache: KVCache) -> Int[Array, " b"]:
    slot = jnp.maximum(cache.seen - 1, 0) % cache.segments.shape[1]
    return jnp.take_along_axis(cache.segments, slot[:, None], axis=1)[:, 0]


def _positions(x: Array, segment_ids: Array | None, cache: KVCache | None) -> Array:
    if cache is None:
        ids = jnp.zeros(x.shape[:2], jnp.int32) if segment_ids is None else segment_ids
        return positions_in(ids)
    return positions_after(segment_ids, x.shape[1], _last_segment(cache), cache.position)
