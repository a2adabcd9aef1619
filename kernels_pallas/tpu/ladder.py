"""Sums of per-key log decays within blocks of 1, 2, 4, ... rows, by pairs, and their adjoint.

At level lg, blocks of m = 2^lg rows meet in pairs: a later row wants the sum since its block's
start, its own gate included, an earlier row the sum after it to its block's end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.tpu.rows import (
    SMALL,
    SUBLANES,
    earlier_blocks,
    from_above,
    from_below,
    from_tiles,
    interleave,
    later_blocks,
    later_in_tile,
    tiles,
)


def climb(g: Float[Array, "h c k"]) -> tuple[list[Array], Array, Array]:
    """What the rows want at each level [h, c, k], and the sums since the chunk's start and to its
    end."""
    since, to_end = tiles(g), jnp.zeros_like(tiles(g))
    levels = []
    for level in range(SMALL):
        later = later_in_tile(since.shape, level)
        levels.append(from_tiles(jnp.where(later, since, to_end)))
        total = since + to_end  # of the row's block
        since = since + jnp.where(later, from_above(total, level), 0)
        to_end = to_end + jnp.where(later, 0, from_below(total, level))
    since, to_end = from_tiles(since), from_tiles(to_end)
    for level in range(SMALL, (g.shape[1] - 1).bit_length()):
        m = 1 << level
        levels.append(interleave(earlier_blocks(to_end, m), later_blocks(since, m), m))
        since, to_end = _join(since, to_end, m)
    return levels, since, to_end


def _join(since: Array, to_end: Array, m: int) -> tuple[Array, Array]:
    starts, ends = [], []
    for s in range(0, since.shape[1], 2 * m):
        earlier, later = since[:, s + m - 1 : s + m], since[:, s + 2 * m - 1 : s + 2 * m]
        starts += [since[:, s : s + m], since[:, s + m : s + 2 * m] + earlier]
        ends += [to_end[:, s : s + m] + later, to_end[:, s + m : s + 2 * m]]
    return jnp.concatenate(starts, axis=1), jnp.concatenate(ends, axis=1)


def part(totals: list[Array], since: Array, to_end: Array, m: int) -> list[Array]:
    """Cotangents of the totals of blocks of m rows, from those of 2 m rows and from those of the
    sums [h, c, k] within these: a block's total counts in the sums of its pair's other rows."""
    parts = []
    for total, s in zip(totals, range(0, since.shape[1], 2 * m), strict=True):
        parts.append(total + jnp.sum(since[:, s + m : s + 2 * m], axis=1, keepdims=True))
        parts.append(total + jnp.sum(to_end[:, s : s + m], axis=1, keepdims=True))
    return parts


def gradient(
    totals: list[Array],
    sums: list[Array],
    within: list[Array],
    shares: Callable[[Array, Array], Array],
) -> Float[Array, "h c k"]:
    """The cotangent of g, from those of the totals of 8 rows and of the sums within them, which
    the matrix unit takes: `shares(pattern, x)` is pattern^T x, `within` as `patterns_within`."""
    found = reduce(add, [shares(pattern, x) for pattern, x in zip(within, sums, strict=True)])
    rows = [jnp.broadcast_to(x, (x.shape[0], SUBLANES, x.shape[2])) for x in totals]
    return found + jnp.concatenate(rows, axis=1)
