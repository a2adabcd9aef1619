"""Softmax attention of this device's queries to keys that are at hand, some rows at a time."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from kernels_pallas.shapes import accumulation_dtype

# Scores held at once: 256 MiB in float32, of which the backward pass holds about four. The fewer
# rows, the more often all keys are read again; this is what the smallest chips (16 GiB) can spare.
SCORES_AT_ONCE = 2**26

Place = int | Int[Array, ""]


class Tokens(NamedTuple):
    """This device's slice."""

    q: Float[Array, "b t h k"]
    k: Float[Array, "b t g k"]
    v: Float[Array, "b t g v"]
    ids: Int[Array, "b t"] | None


class Sight(NamedTuple):
    """Which keys a query sees: not later, not before `start`, in the window, of its document.

    place: of the first query among the keys. ids: documents of queries and of keys, or None.
    """

    place: Place
    ids: tuple[Int[Array, "b t"], Int[Array, "b s"]] | None = None
    start: Place = 0
    window: int | None = None

    def mask(self, rows: int, keys: int) -> Bool[Array, "_ 1 t s"]:
        key = jnp.arange(keys)
        distance = self.place + jnp.arange(rows)[:, None] - key
        mask = ((distance >= 0) & (key >= self.start))[None]
        if self.window is not None:
            mask &= distance < self.window
        if self.ids is not None:
            mask &= self.ids[0][:, :, None] == self.ids[1][:, None, :]
        return mask[:, None]

    def rows_from(self, first: Place, ids: Int[Array, "b r"] | None) -> Sight:
        """Of the queries from `first` on, whose documents are `ids`."""
        pair = None if self.ids is None or ids is None else (ids, self.ids[1])
        return self._replace(place=self.place + first, ids=pair)


def attend(
    q: Float[Array, "b t h k"],
    k: Float[Array, "b s g k"],
    v: Float[Array, "b s g v"],
    sight: Sight,
    scale: float,
) -> Float[Array, "b t h v"]:
    """o_i = sum_j softmax_j(scale q_i k_j) v_j over the keys j that query i sees.

    Where not all [b, h, t, s] scores fit `SCORES_AT_ONCE`, some rows of queries after the other,
    computed again in the backward pass; the gradients of k and v add up in float32.
    """
    b, t, h, _ = q.shape
    rows = rows_at_once(b * h, t, k.shape[1])
    if rows == t:
        return _attend(q, k, v, sight, scale)

    wide = [x.astype(accumulation_dtype(x)) for x in (k, v)]

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def one(block: tuple[Array, Array | None, Array]) -> Array:
        queries, ids, first = block
        keys, values = (x.astype(q.dtype) for x in wide)
        return _attend(queries, keys, values, sight.rows_from(first, ids), scale)

    return joined(jax.lax.map(one, blocks_of(q, sight, rows)), t)


def rows_at_once(heads: int, t: int, keys: int) -> int:
    """Queries of a block; t where all fit, else a multiple of 8 (rows of a register), at least 8.

    heads: of all rows of the batch.
    """
    rows = SCORES_AT_ONCE // (heads * keys)
    return t if rows >= t else min(t, max(8, rows // 8 * 8))


def blocks_of(
    q: Shaped[Array, "b t ..."], sight: Sight, rows: int
) -> tuple[Array, Array | None, Int[Array, " n"]]:
    """Queries, their documents and the first of each block."""
    blocks = cut(q, rows)
    ids = None if sight.ids is None else cut(sight.ids[0], rows)
    return blocks, ids, rows * jnp.arange(blocks.shape[0])


def cut(x: Shaped[Array, "b t ..."], rows: int, filler: int = 0) -> Shaped[Array, "n b r ..."]:
    """Blocks of time, the last one filled up."""
    n = -(-x.shape[1] // rows)
    missing = ((0, 0), (0, n * rows - x.shape[1]), *((0, 0),) * (x.ndim - 2))
    filled = jnp.pad(x, missing, constant_values=filler)
    return jnp.moveaxis(filled.reshape(x.shape[0], n, rows, *x.shape[2:]), 1, 0)


def joined(blocks: Shaped[Array, "n b r ..."], t: int) -> Shaped[Array, "b t ..."]:
    """The inverse of `cut`."""
    n, b, rows, *rest = blocks.shape
    return jnp.moveaxis(blocks, 0, 1).reshape(b, n * rows, *rest)[:, :t]


def _attend(q: Array, k: Array, v: Array, sight: Sight, scale: float) -> Array:
    """By the library, which wants keys as wide as values: zeros change neither scores nor sums."""
    mask = sight.mask(q.shape[1], k.shape[1])
    columns, width = v.shape[-1], max(k.shape[-1], v.shape[-1])
    q, k, v = (_widened(x, width) for x in (q, k, v))
    found = jax.nn.dot_product_attention(q, k, v, mask=mask, scale=scale)
    return found[..., :columns]


def _widened(x: Array, width: int) -> Array:
    missing = width - x.shape[-1]
    return jnp.pad(x, ((0, 0),) * 3 + ((0, missing),)) if missing else x
