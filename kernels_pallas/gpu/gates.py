"""What one decay a head does over a chunk: numbers a token, made by XLA."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.gpu.arrange import by_chunk
from kernels_pallas.gpu.chunks import Sizes
from kernels_pallas.gpu.tiles import TILE

CLOSED = -1e5  # a log decay whose exp is zero, and whose sums over a chunk are finite


class Gates(NamedTuple):
    """Of each chunk and head; float32."""

    log_decay: Any  # [b n h 64]
    keep: Any  # exp(the sum of all), for every key [b n h k]
    since: Any  # exp(the sum up to the token) [b n h 64]
    to_end: Any  # exp(the sum after the token) [b n h 64]


def gates(sizes: Sizes, log_decay: Float[Array, "b t h 1"] | None) -> Gates:
    """Sums are products with triangles of ones, never differences of sums."""
    if log_decay is None:
        chunk = jnp.zeros((sizes.b, sizes.n, sizes.h, TILE), jnp.float32)
    else:
        chunk = by_chunk(sizes, jnp.maximum(log_decay, CLOSED))[..., 0]
    upper = jnp.triu(jnp.ones((TILE, TILE), jnp.float32))
    since = jnp.exp(_product(chunk, upper))
    to_end = jnp.exp(_product(chunk, jnp.tril(upper.T, -1)))
    keep = jnp.broadcast_to(since[..., -1:], (*since.shape[:-1], sizes.k))
    return Gates(*(x.reshape(-1) for x in (chunk, keep, since, to_end)))


def _product(x: Array, ones: Array) -> Array:
    return jnp.matmul(x, ones, precision=jax.lax.Precision.HIGHEST)
