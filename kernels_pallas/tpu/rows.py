"""Row and column numbers of a chunk's matrices, and pairs of row blocks, as registers like them.

A float32 register holds 8 rows. Blocks of at least 8 rows are taken apart and put together for
nothing. Within 8 rows the work is done on [h, c / 8, 8, k], where every register has the same row
numbers, so that a mask is computed once.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Bool, Float, Int

SUBLANES = 8
APART = 4  # rows between those that an access takes from as many registers at once
PACKED = 16  # rows of a bfloat16 register
SMALL = 3  # levels of blocks of 1, 2 and 4 rows


def row(shape: tuple[int, ...]) -> Int[Array, "h i j"]:
    return jax.lax.broadcasted_iota(jnp.int32, shape, 1)


def column(shape: tuple[int, ...]) -> Int[Array, "h i j"]:
    return jax.lax.broadcasted_iota(jnp.int32, shape, 2)


def meeting(shape: tuple[int, ...]) -> Int[Array, "h i j"]:
    """i xor j below the diagonal, 0 on it, -1 above.

    Blocks of m = 2^level rows in pairs: row i is in the later, column j in the earlier block of
    one pair where m <= meeting < 2 m.
    """
    i, j = row(shape), column(shape)
    return jnp.where(i >= j, i ^ j, -1)


def in_corner(meeting: Int[Array, "h i j"], level: int) -> Bool[Array, "h i j"]:
    return meeting >> level == 1


def later_blocks(x: Array, m: int) -> Array:
    """[h, c / 2, x]: of each pair of blocks of m rows the later one."""
    return _take([x[:, s : s + m] for s in range(m, x.shape[1], 2 * m)])


def earlier_blocks(x: Array, m: int) -> Array:
    """[h, c / 2, x]: of each pair of blocks of m rows the earlier one."""
    return _take([x[:, s : s + m] for s in range(0, x.shape[1], 2 * m)])


def interleave(earlier: Array, later: Array, m: int) -> Array:
    """The inverse of `earlier_blocks` and `later_blocks`."""
    return _take([x[:, s : s + m] for s in range(0, earlier.shape[1], m) for x in (earlier, later)])


def _take(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)


def tiles(x: Float[Array, "h c k"]) -> Float[Array, "h n 8 k"]:
    return x.reshape(x.shape[0], -1, SUBLANES, x.shape[2])


def from_tiles(x: Float[Array, "h n 8 k"]) -> Float[Array, "h c k"]:
    return x.reshape(x.shape[0], -1, x.shape[3])


def later_in_tile(shape: tuple[int, ...], level: int) -> Bool[Array, "h n 8 k"]:
    """True in the second of each pair of blocks of 2^level rows, level < 3."""
    return (jax.lax.broadcasted_iota(jnp.int32, shape, 2) >> level) & 1 == 1


def from_above(x: Float[Array, "h n 8 k"], level: int) -> Float[Array, "h n 8 k"]:
    """To later rows their counterparts in the earlier block of the pair; to others what comes."""
    return pltpu.roll(x, 1 << level, 2)


def from_below(x: Float[Array, "h n 8 k"], level: int) -> Float[Array, "h n 8 k"]:
    """To earlier rows their counterparts in the later block of the pair; to others what comes."""
    return pltpu.roll(x, SUBLANES - (1 << level), 2)


def stack(parts: list[Array]) -> Array:
    """Arrays [h, c, x], rows below rows."""
    return _take(parts)


def split_rows(x: Array, parts: int) -> list[Array]:
    """The inverse of `stack`."""
    rows = x.shape[1] // parts
    return [x[:, i * rows : (i + 1) * rows] for i in range(parts)]


def mixed(earlier: Array, later: Array, level: int) -> Array:
    """Rows of `earlier` in the earlier blocks of 2^level rows, of `later` in the later ones."""
    if level >= SMALL:
        m = 1 << level
        return interleave(earlier_blocks(earlier, m), later_blocks(later, m), m)
    mask = later_in_tile(tiles(later).shape, level)
    return from_tiles(jnp.where(mask, tiles(later), tiles(earlier)))


def add_later(x: Array, more: Array, level: int) -> Array:
    """x + more in the later blocks."""
    return mixed(x, x + more, level)


def add_earlier(x: Array, more: Array, level: int) -> Array:
    return mixed(x + more, x, level)
