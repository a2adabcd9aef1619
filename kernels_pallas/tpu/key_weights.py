"""The weights that a decay a key gives the rows of a chunk: as values, or kept in vector memory.

Of a row: at the levels of blocks of 1, 2 and 4 rows, within its tile of 8 rows up to the row, and
after it. Of a tile: at each level above, of the tiles before it and of those after it. What a row
weighs above a tile is its own weight times that of its tile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from kernels_pallas.tpu.decay import LOG2_E
from kernels_pallas.tpu.ladder import climb, climb_apart, climb_tiles, spread, totals_of_tiles
from kernels_pallas.tpu.products import total
from kernels_pallas.tpu.rows import APART, SMALL, SUBLANES, stack

WIDEST = 128  # keys of a head whose weights are kept: a register's lanes
IN_TILE, TO_BORDER = SMALL, SMALL + 1


class KeyWeights:
    """The weights of g [h, c, k], as values."""

    def __init__(self, g: Float[Array, "h c k"]) -> None:
        c = g.shape[1]
        levels, since, to_end = climb(g * LOG2_E)
        of_tiles, whole = climb_tiles(totals_of_tiles(since))
        *within, self.in_tile, self.to_border = _powers([*levels, since, to_end])
        *of_tiles, self.whole = _powers([*of_tiles, whole])
        *above, self.before, self.after = (spread(x, c) for x in of_tiles)
        self.levels = [*within, *above]

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
        """Its scratch; none for wider keys and short chunks, whose weights stay values."""
        if k > WIDEST or c < APART * SUBLANES:
            return []
        tiles = -(-(_whole(c // SUBLANES) + 1) // SUBLANES) * SUBLANES
        return [
            pltpu.VMEM((SMALL + 2, heads, c, k), jnp.float32),
            pltpu.VMEM((heads, tiles, k), jnp.float32),
        ]

    def fill(self, g: Any, heads: slice) -> None:
        """From the log decays of a grid step. Rows are taken four apart, so that most that meet
        stand at one place of two registers: nothing of them is rolled or masked."""
        for head in range(heads.start, heads.stop):
            self._fill_rows(g, head)
            self._fill_tiles(g, head)

    def _fill_rows(self, g: Any, head: int) -> None:
        c = self.rows.shape[2]
        apart = [g[_every(APART, i, head, c)][0] * LOG2_E for i in range(APART)]
        levels, since, to_end = climb_apart(apart)
        for which, sums in enumerate([*levels, since, to_end]):
            for i, x in enumerate(sums):
                self.rows[_every(APART, i, head, c, which)] = jnp.exp2(x)[None]

    def _fill_tiles(self, g: Any, head: int) -> None:
        c = self.rows.shape[2]
        totals = total([g[_every(SUBLANES, i, head, c)][0] for i in range(SUBLANES)])
        sums, whole = climb_tiles(totals * LOG2_E)
        n = c // SUBLANES
        for i, x in enumerate(sums):
            self.tiles[head, i * n : (i + 1) * n] = jnp.exp2(x)[0, :n]
        self.tiles[head, pl.ds(_whole(n), 1)] = jnp.exp2(whole)[0]


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


def _powers(sums: list[Array]) -> list[Array]:
    return [jnp.exp2(x) for x in sums]


def _every(step: int, first: int, head: int, c: int, which: int = 0) -> tuple[Any, ...]:
    """Where the rows first, first + step, ... of c rows of a head are: slices all of them, since
    the interpreter takes no steps beside numbers."""
    return pl.ds(which, 1), pl.ds(head, 1), pl.ds(first, c // step, step)


def _above(n: int) -> int:
    """Levels of n tiles."""
    return (n - 1).bit_length()


def _whole(n: int) -> int:
    """Where the weight of the chunk is kept: after those of n tiles."""
    return (_above(n) + 2) * n
