"""Softmax attention within a window: of the slices before, only its tokens are needed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from kernels_pallas.exchange import softmax_local
from kernels_pallas.exchange.halo import halo
from kernels_pallas.exchange.line import Line
from kernels_pallas.exchange.softmax_local import Place, Sight, Tokens, attend, cut, joined

# A block of queries sees its own keys and those of the block before. Matrix units work on 128 rows.
ROWS = 128


def attend_window(
    tokens: Tokens, line: Line | None, window: int, scale: float
) -> Float[Array, "b t h v"]:
    """Attention to the last `window` tokens, the query's own among them.

    window - 1 tokens of K and V, beside each other, come from the slices before (`halo`); bytes
    and work do not grow with the sequence. line: None: nothing comes, each slice for itself.
    """
    q, k, v, ids = tokens
    columns, t = k.shape[-1], q.shape[1]
    packed = jnp.concatenate([k, v], axis=-1)
    width, start = 0, 0
    if line is not None:
        # No more than there is before the last slice. Before the first token there is nothing.
        width = min(window - 1, (line.size - 1) * t)
        start = jnp.maximum(width - line.rank() * t, 0)
        packed = _with_halo(packed, line, width)
    pair = None if ids is None else (ids, ids if line is None else _with_halo(ids, line, width))
    whole = Tokens(q, packed[..., :columns], packed[..., columns:], None)
    return _banded(whole, Sight(width, pair, start, window), window, scale)


def _with_halo(x: Shaped[Array, "b t ..."], line: Line, width: int) -> Shaped[Array, "b s ..."]:
    return jnp.concatenate([halo(x, line.axis, width), x], axis=1) if width else x


def _banded(tokens: Tokens, sight: Sight, window: int, scale: float) -> Array:
    """All scores where that is little more than the band, else those of pairs of blocks."""
    (b, t, h, _), keys = tokens.q.shape, tokens.k.shape[1]
    rows = max(window - 1, ROWS)
    if keys <= 2 * rows:
        return attend(tokens.q, tokens.k, tokens.v, sight, scale)

    # Keys start one block before the queries, with `spare` more that no query reaches.
    spare = rows - sight.place

    def pairs(x: Array) -> Array:
        before = jnp.pad(x, ((0, 0), (spare, 0), *((0, 0),) * (x.ndim - 2)))
        blocks = cut(before, rows)
        return jnp.concatenate([blocks[:-1], blocks[1:]], axis=2)

    @jax.checkpoint
    def one(block: tuple[Array, Array, Array, tuple[Array, Array] | None, Place]) -> Array:
        queries, k, v, ids, start = block
        return attend(queries, k, v, Sight(rows, ids, start, window), scale)

    ids = None if sight.ids is None else (cut(sight.ids[0], rows), pairs(sight.ids[1]))
    queries = cut(tokens.q, rows)
    starts = spare + sight.start - rows * jnp.arange(queries.shape[0])
    blocks = (queries, pairs(tokens.k), pairs(tokens.v), ids, starts)
    at_once = max(1, softmax_local.SCORES_AT_ONCE // (b * h * 2 * rows**2))
    if at_once >= queries.shape[0]:
        return joined(jax.vmap(one)(blocks), t)
    return joined(jax.lax.map(one, blocks, batch_size=at_once), t)
