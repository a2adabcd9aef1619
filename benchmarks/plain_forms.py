"""Plain chunked formulations, differentiated by JAX itself: what the ops are measured against.

Both assume a time that the chunk divides and moderate decays, and have no documents.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array


def chunk_scan_per_key(q: Array, k: Array, v: Array, log_decay: Array, *, c: int) -> Array:
    """One scan over chunks of c tokens; the decays of a chunk as one tensor [c, c, k]."""

    def chunk(state: Array, xs: tuple[Array, ...]) -> tuple[Array, Array]:
        q, k, v, g = xs  # [b, h, c, .]
        since = jnp.cumsum(g, axis=-2)
        mask = jnp.tril(jnp.ones((c, c), bool))[..., None]
        between = jnp.where(mask, since[..., :, None, :] - since[..., None, :, :], -jnp.inf)
        scores = jnp.sum(q[..., :, None, :] * k[..., None, :, :] * jnp.exp(between), axis=-1)
        outputs = (q * jnp.exp(since)) @ state + scores @ v
        last = since[..., -1:, :]
        state = jnp.exp(last).mT * state + (k * jnp.exp(last - since)).mT @ v
        return state, outputs

    return _scanned(chunk, c, q, k, v, log_decay)


def token_scan_by_chunks(q: Array, k: Array, v: Array, log_decay: Array, *, c: int) -> Array:
    """The token recurrence, with only the states between chunks kept for the backward pass."""

    def token(state: Array, xs: tuple[Array, ...]) -> tuple[Array, Array]:
        q, k, v, g = xs
        state = jnp.exp(g)[..., None] * state + k[..., None] * v[..., None, :]
        return state, jnp.sum(q[..., None] * state, axis=-2)

    @jax.checkpoint
    def chunk(state: Array, xs: tuple[Array, ...]) -> tuple[Array, Array]:
        by_time = tuple(jnp.moveaxis(x, 2, 0) for x in xs)
        state, outputs = jax.lax.scan(token, state, by_time)
        return state, jnp.moveaxis(outputs, 0, 2)

    return _scanned(chunk, c, q, k, v, log_decay)


def batched_per_head(
    q: Array, k: Array, v: Array, log_decay: Array, *, c: int, associative: bool
) -> Array:
    """All chunks at once, then a scan over their states; one decay a head."""
    q, k, v, g = (_chunks(x, c) for x in (q, k, v, log_decay[..., None]))  # [n, b, h, c, .]
    since = jnp.cumsum(g, axis=-2)
    between = jnp.where(jnp.tril(jnp.ones((c, c), bool)), since - since.mT, -jnp.inf)
    last = since[..., -1:, :]
    keep, added = jnp.exp(last), (k * jnp.exp(last - since)).mT @ v
    if associative:
        combine = lambda a, b: (b[0] * a[0], b[0] * a[1] + b[1])  # noqa: E731
        _, states = jax.lax.associative_scan(combine, (keep, added))
        entering = jnp.concatenate([jnp.zeros_like(states[:1]), states[:-1]])
    else:
        step = lambda state, xs: (xs[0] * state + xs[1], state)  # noqa: E731
        _, entering = jax.lax.scan(step, jnp.zeros_like(added[0]), (keep, added))
    outputs = (q * jnp.exp(since)) @ entering + (q @ k.mT * jnp.exp(between)) @ v
    return _joined(outputs)


def associative_recurrence(x: Array, log_decay: Array) -> Array:
    """h_t = exp(g_t) h_{t-1} + x_t by one associative scan over all of time."""
    combine = lambda a, b: (b[0] * a[0], b[0] * a[1] + b[1])  # noqa: E731
    return jax.lax.associative_scan(combine, (jnp.exp(log_decay), x), axis=1)[1]


PER_KEY = {
    "chunk scan 16": partial(chunk_scan_per_key, c=16),
    "token scan, kept by 64": partial(token_scan_by_chunks, c=64),
}
PER_HEAD = {
    "batched 64 + scan": partial(batched_per_head, c=64, associative=False),
    "batched 64 + associative": partial(batched_per_head, c=64, associative=True),
}
CHANNELS = {"associative": associative_recurrence}


def _scanned(chunk, c: int, *arrays: Array) -> Array:
    b, _, h, key = arrays[0].shape
    start = jnp.zeros((b, h, key, arrays[2].shape[-1]))
    return _joined(jax.lax.scan(chunk, start, tuple(_chunks(x, c) for x in arrays))[1])


def _chunks(x: Array, c: int) -> Array:
    """[b, t, h, x] -> [n, b, h, c, x]."""
    return jnp.moveaxis(x.reshape(x.shape[0], -1, c, *x.shape[2:]), (1, 3), (0, 2))


def _joined(x: Array) -> Array:
    """[n, b, h, c, x] -> [b, t, h, x]."""
    x = jnp.moveaxis(x, (0, 2), (1, 3))
    return x.reshape(x.shape[0], -1, *x.shape[3:])
