"""Chunks read from and gradients written to the blocks of a grid step."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.tpu.chunk import Chunk, Gradients
from kernels_pallas.tpu.decay import HeadDecay, NoDecay, Weights
from kernels_pallas.tpu.grid import Tokens
from kernels_pallas.tpu.key_decay import KeyDecay, KeyEnds
from kernels_pallas.tpu.key_weights import KeptWeights, KeyWeights, Room
from kernels_pallas.tpu.patterns import AFTER, UPTO, KeyPatterns, key_patterns, patterns
from kernels_pallas.tpu.products import Products
from kernels_pallas.tpu.rows import column, row

ALL = slice(None)


def sums_of(tokens: Tokens, rows: int) -> Array | KeyPatterns | None:
    """The patterns that the kernels of these tokens read."""
    g = tokens.log_decay
    if g is None:
        return None
    return patterns(rows) if g.ndim == 5 else key_patterns(rows)


def read(
    prod: Products, tokens: Any, sums: Any, heads: slice = ALL, room: Room | None = None
) -> Chunk:
    """The chunk of a grid step; room: that of its weights, where they are kept."""
    q, k, v = (x[0, heads] for x in tokens[:3])
    beta = None if tokens.beta is None else as_column(tokens.beta[0, heads, 0])
    return Chunk(q, k, v, beta, _weights(prod, tokens.log_decay, sums, heads, room))


def read_to_advance(prod: Products, tokens: Any, sums: Any) -> Chunk:
    """The chunk of a grid step for the state alone."""
    chunk = read(prod, tokens, sums)
    if chunk.beta is not None or not isinstance(chunk.weights, KeyDecay):
        return chunk
    return chunk._replace(weights=KeyEnds(prod, tokens.log_decay[0], sums.after[...]))


def _weights(prod: Products, g: Any, sums: Any, heads: slice, room: Room | None) -> Weights:
    if g is None:
        return NoDecay(prod)
    if len(g.shape) == 5:
        return HeadDecay(prod, g[0, heads, 0], sums[UPTO], sums[AFTER])
    if room is None:
        return KeyDecay(prod, KeyWeights(g[0, heads]), sums)
    room.fill(g, heads)
    return KeyDecay(prod, KeptWeights(room, heads), sums)


def write(refs: Tokens, grads: Gradients, heads: slice) -> None:
    for ref, x in zip(refs[:3], grads[:3], strict=True):
        ref[0, heads] = x.astype(ref.dtype)
    if grads.beta is not None:
        refs.beta[0, heads, 0] = as_row(grads.beta)
    if grads.log_decay is not None:
        wide = len(refs.log_decay.shape) == 5
        refs.log_decay[(0, heads, 0) if wide else (0, heads)] = grads.log_decay


def as_column(x: Float[Array, "h 1 c"]) -> Float[Array, "h c 1"]:
    shape = (x.shape[0], x.shape[2], x.shape[2])
    own = row(shape) == column(shape)
    return jnp.sum(jnp.where(own, jnp.broadcast_to(x, shape), 0), axis=2, keepdims=True)


def as_row(x: Float[Array, "h c 1"]) -> Float[Array, "h 1 c"]:
    shape = (x.shape[0], x.shape[1], x.shape[1])
    own = row(shape) == column(shape)
    return jnp.sum(jnp.where(own, jnp.broadcast_to(x, shape), 0), axis=1, keepdims=True)
