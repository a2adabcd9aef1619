"""The weights that a decay a key gives the rows of a chunk: as values, or kept in vector memory.

Of a row: at the levels of blocks of 1, 2 and 4 rows, within its tile of 8 rows up to the row, and
after it. Of a tile: at each level above, of the tiles before it and of those after it. What a row
weighs above a tile is its own weight times that of its tile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from kernels_pallas.tpu.decay import LOG2_E
from kernels_pallas.tpu.ladder import climb, climb_tiles, spread, totals_of_tiles
from kernels_pallas.tpu.rows import SMALL, SUBLANES, stack

WIDEST = 128  # keys of a head whose weights are kept: a register's lanes
IN_TILE, TO_BORDER = SMALL, SMALL + 1
AT_ONCE = 4  # heads whose weights are made together: one's sums fill the waits of another's


class KeyWeights:
    """The weights of g [h, c, k], as values."""

    def __init__(self, g: Float[Array, "h c k"]) -> None:
        c = g.shape[1]
        rows, of_tiles, self.whole = _powers(g)
        self.in_tile, self.to_border = rows[IN_TILE], rows[TO_BORDER]
        *above, before, after = (spread(x, c) for x in of_tiles)
        self.levels, self.before, self.after = [*rows[:SMALL], *above], before, after

    def level(self, level: int) -> Float[Array, "h c k"]:
        return self.levels[level]


class Room:
    """Where a kernel keeps the weights of its heads: they are read at each use, so that no register
    holds them in between.

    rows [5, h, c, k]: at the levels within a tile, up to the row, after it. tiles [h, x, k]: of the
    tiles, and of the chunk.
    """

    def __init__(self, rows: Any, tiles: Any) -> None:
        self.rows, self.tiles = rows, tiles

    @staticmethod
    def of(heads: int, c: int, k: int) -> list[Any]:
        """Its scratch; none for wider keys, whose weights stay values."""
        if k > WIDEST:
            return []
        tiles = -(-(_whole(c // SUBLANES) + 1) // SUBLANES) * SUBLANES
        return [
            pltpu.VMEM((SMALL + 2, heads, c, k), jnp.float32),
            pltpu.VMEM((heads, tiles, k), jnp.float32),
        ]

    def fill(self, g: Any) -> None:
        """From the log decays of a grid step, in a loop of its own: it takes the vector unit whole,
        which what follows leaves half idle, and would hold the registers that this is short of."""
        heads = g.shape[1]
        at_once = AT_ONCE if heads % AT_ONCE == 0 else 1

        def some(i: Any, nothing: Any) -> Any:
            for head in range(at_once):
                self._fill(g, at_once * i + head)
            return nothing

        jax.lax.fori_loop(0, heads // at_once, some, None)

    def _fill(self, g: Any, head: Any) -> None:
        n = self.rows.shape[2] // SUBLANES
        rows, of_tiles, whole = _powers(g[0, pl.ds(head, 1)])
        for i, x in enumerate(rows):
            self.rows[i, pl.ds(head, 1)] = x
        for i, x in enumerate(of_tiles):
            self.tiles[head, i * n : (i + 1) * n] = x[0, :n]
        self.tiles[head, pl.ds(_whole(n), 1)] = whole[0]


class KeptWeights:
    """As `KeyWeights`, read from the room."""

    def __init__(self, room: Room, heads: slice) -> None:
        self.room, self.heads = room, heads
        self.n = room.rows.shape[2] // SUBLANES

    def level(self, level: int) -> Float[Array, "h c k"]:
        return self._rows(level) if level < SMALL else self._spread(level - SMALL)

    @property
    def in_tile(self) -> Float[Array, "h c k"]:
        return self._rows(IN_TILE)

    @property
    def to_border(self) -> Float[Array, "h c k"]:
        return self._rows(TO_BORDER)

    @property
    def before(self) -> Float[Array, "h c k"]:
        return self._spread(_above(self.n))

    @property
    def after(self) -> Float[Array, "h c k"]:
        return self._spread(_above(self.n) + 1)

    @property
    def whole(self) -> Float[Array, "h 1 k"]:
        return self._each(lambda head: self._tile(head, _whole(self.n)))

    def _rows(self, which: int) -> Float[Array, "h c k"]:
        return self.room.rows[which, self.heads]

    def _spread(self, which: int) -> Float[Array, "h c k"]:
        """A row a tile, to every row of the tile: loads do that for nothing."""
        shape, first = (SUBLANES, self.room.tiles.shape[2]), which * self.n

        def tile(i: int) -> Array:
            return self._each(lambda head: jnp.broadcast_to(self._tile(head, first + i), shape))

        return stack([tile(i) for i in range(self.n)])

    def _tile(self, head: int, at: int) -> Float[Array, "1 k"]:
        return self.room.tiles[head, pl.ds(at, 1)]

    def _each(self, of: Callable[[int], Array]) -> Array:
        return jnp.stack([of(head) for head in range(self.heads.start, self.heads.stop)])


def _powers(g: Float[Array, "h c k"]) -> tuple[list[Array], list[Array], Array]:
    """The weights of rows [h, c, k] each, those of tiles [h, n, k] each, and that of the chunk
    [h, 1, k], in the order in which they are kept."""
    n = g.shape[1] // SUBLANES
    levels, since, to_end = climb(g * LOG2_E)
    totals = totals_of_tiles(since)
    above, before, after = climb_tiles(totals)
    rows = [jnp.exp2(x) for x in (*levels, since, to_end)]
    of_tiles = [jnp.exp2(x) for x in (*above[: _above(n)], before, after)]
    return rows, of_tiles, jnp.exp2((before + totals)[:, n - 1 : n])


def _above(n: int) -> int:
    """Levels of n tiles."""
    return (n - 1).bit_length()


def _whole(n: int) -> int:
    """Where the weight of the chunk is kept: after those of n tiles."""
    return (_above(n) + 2) * n
