"""Sums of per-key log decays within blocks of 1, 2, 4, ... rows, by pairs, and their adjoint.

At level lg, blocks of m = 2^lg rows meet in pairs: a later row wants the sum since its block's
start, its own gate included, an earlier row the sum after it to its block's end. Of blocks of 8
rows and more these are the sum within the row's tile of 8 rows and one over whole tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.tpu.rows import (
    APART,
    PACKED,
    SMALL,
    SUBLANES,
    add_earlier,
    add_later,
    earlier_blocks,
    from_above,
    from_below,
    from_tiles,
    interleave,
    later_blocks,
    later_in_tile,
    mixed,
    tiles,
)


def climb(g: Float[Array, "h c k"]) -> tuple[list[Array], Array, Array]:
    """What the rows want at each level within a tile [h, c, k], and their sums since the tile's
    start and to its end. At level 0 of the later rows alone: an earlier one wants none."""
    since, total, levels = tiles(g), tiles(g), []
    to_end: Any = 0.0
    for level in range(SMALL):
        later = later_in_tile(since.shape, level)
        levels.append(from_tiles(jnp.where(later, since, to_end) if level else since))
        earlier_total, later_total = _of_other_blocks(total, level)
        since, to_end = since + earlier_total, to_end + later_total
        total = since + to_end  # of the row's block
    return levels, from_tiles(since), from_tiles(to_end)


def climb_apart(
    rows: list[Float[Array, "h n k"]],
) -> tuple[list[list[Array]], list[Array], list[Array]]:
    """As `climb`, of arrays to arrays whose i-th has the rows i, i + 4, ... of a chunk: rows that
    meet at the first two levels stand at one place of two arrays."""
    since, to_end, levels = [*rows], [jnp.zeros_like(rows[0])] * APART, []
    for m in (1, 2):
        levels.append([since[i] if i & m else to_end[i] for i in range(APART)])
        for i, other in [(i, since[(i ^ m) | (m - 1)]) for i in range(APART)]:
            wanted = since if i & m else to_end
            wanted[i] = wanted[i] + other
    levels.append([mixed(x, y, 0) for x, y in zip(to_end, since, strict=True)])
    earlier_total, later_total = map(from_tiles, _of_other_blocks(tiles(since[-1]), 0))
    return levels, [x + earlier_total for x in since], [x + later_total for x in to_end]


def climb_tiles(totals: Float[Array, "h n k"]) -> tuple[list[Array], Array]:
    """From the sums of tiles: what their rows want of other tiles at each level, then of the tiles
    before and after, and the sum of all [h, 1, k]. Of less than 8 tiles as many rows as a register
    has [h, 8, k]."""
    (h, n, k), levels = totals.shape, []
    if n < SUBLANES:
        totals = jnp.concatenate([totals, jnp.zeros((h, SUBLANES - n, k), totals.dtype)], axis=1)
    total = tiles(totals)
    before = after = jnp.zeros_like(total)
    for level in range(min((n - 1).bit_length(), SMALL)):
        later = later_in_tile(total.shape, level)
        levels.append(from_tiles(jnp.where(later, before, after)))
        earlier_total, later_total = _of_other_blocks(total, level)
        before, after = before + earlier_total, after + later_total
        total = total + earlier_total + later_total
    before, after, total = (from_tiles(x) for x in (before, after, total))
    for level in range(SMALL, (n - 1).bit_length()):
        m = 1 << level
        levels.append(mixed(after, before, level))
        other = interleave(later_blocks(total, m), earlier_blocks(total, m), m)
        before, after = add_later(before, other, level), add_earlier(after, other, level)
        total = total + other
    return [*levels, before, after], (before + totals)[:, n - 1 : n]


def _of_other_blocks(total: Float[Array, "h n 8 k"], level: int) -> tuple[Array, Array]:
    """From the sums of blocks of 2^level rows: to later rows that of the earlier block of their
    pair, to earlier rows that of the later block, and 0 to the others."""
    later = later_in_tile(total.shape, level)
    earlier_total = jnp.where(later, from_above(total, level), 0)
    return earlier_total, jnp.where(later, 0, from_below(total, level))


def totals_of_tiles(since: Float[Array, "h c k"]) -> Float[Array, "h n k"]:
    """The last row of each tile."""
    last = [since[:, s - 1 : s] for s in range(SUBLANES, since.shape[1] + 1, SUBLANES)]
    return jnp.concatenate(last, axis=1)


def spread(x: Float[Array, "h n k"], c: int) -> Float[Array, "h c k"]:
    """A row a tile, to every row of the tile."""
    h, _, k = x.shape
    rows = [jnp.broadcast_to(x[:, i : i + 1], (h, SUBLANES, k)) for i in range(c // SUBLANES)]
    return jnp.concatenate(rows, axis=1)


def part(totals: list[Array], since: Array, to_end: Array, m: int) -> list[Array]:
    """Cotangents of the totals of blocks of m rows, from those of 2 m rows and from those of the
    sums [h, c, k] within these: a block's total counts in the sums of its pair's other rows.

    Each is left as 8 rows [h, 8, k], of which it is the sum.
    """
    parts = []
    for total, s in zip(totals, range(0, since.shape[1], 2 * m), strict=True):
        parts.append(total + over_tiles(since[:, s + m : s + 2 * m]))
        parts.append(total + over_tiles(to_end[:, s : s + m]))
    return parts


def over_tiles(x: Float[Array, "h c k"]) -> Float[Array, "h 8 k"]:
    return reduce(add, [x[:, s : s + SUBLANES] for s in range(0, x.shape[1], SUBLANES)])


def gradient(
    sums: list[Float[Array, "h c k"]],
    within: Float[Array, "gates sums"],
    shares: Callable[[Array, Array], Array],
) -> Float[Array, "h c k"]:
    """The cotangent of g from those of the sums of `gates`, in its order, by the matrix
    unit: `shares(pattern, x)` is pattern x."""
    found = []
    for s in range(0, sums[0].shape[1], PACKED):
        stacked = jnp.concatenate([x[:, s : s + PACKED] for x in sums], axis=1)
        found.append(shares(within, stacked))
    return jnp.concatenate(found, axis=1)
