"""How many blocks All-Scan cuts a state into, and the seconds that it should take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from kernels_pallas.exchange.traffic import State
from kernels_pallas.hardware import HOP, Hardware

TILE = (8, 128)  # sublanes and lanes: what a chip addresses
MOST = 128  # blocks: each has a semaphore
# Of the 16 MiB that a kernel has for itself if it asks for no more.
VMEM = 12 * 2**20
FULL_FLOAT32 = 6  # bfloat16 passes of a product in full float32


class Blocks(NamedTuple):
    """Equal blocks of a state [r, k, v]: so many along r, so many along v."""

    rows: int
    columns: int

    @property
    def count(self) -> int:
        return self.rows * self.columns


def cut(
    shape: tuple[int, ...],
    dense: bool,
    ranks: int,
    chip: Hardware,
    itemsize: int,
    asked: int | None = None,
) -> Blocks:
    """The blocks of a state [r, k, v]: as many as asked, else the fastest by `seconds`.

    Raises:
        ValueError: it cannot be cut into so many; lists what it can.
    """
    found = list(_possible(shape, dense))
    if asked is None:
        return min(found, key=lambda b: seconds(shape, dense, ranks, chip, itemsize, b.count))
    for blocks in found:
        if blocks.count == asked:
            return blocks
    counts = [blocks.count for blocks in found]
    near = min(counts, key=lambda n: abs(n - asked))
    raise ValueError(
        f"exchange: a state of {' x '.join(map(str, shape))} (heads, keys, values) cannot be sent "
        f"in {asked} blocks; possible are {', '.join(map(str, counts))}, for example {near}"
    )


def seconds(
    shape: tuple[int, ...], dense: bool, ranks: int, chip: Hardware, itemsize: int, blocks: int
) -> float:
    """One way, predicted:

        (ranks - 2 + blocks) (HOP + a block through one link + written, read + its product)

    ranks - 1 hops of the first block, and the others behind it.
    """
    rows, k, v = shape
    size = rows * k * v / blocks
    product = 2 * size * k * FULL_FLOAT32 / chip.flops if dense else 0.0
    moved = size * itemsize * (1 / chip.link + 2 / chip.hbm_bandwidth)
    return (ranks - 2 + blocks) * (HOP + moved + product)


def _possible(shape: tuple[int, ...], dense: bool) -> Iterator[Blocks]:
    """Blocks that fit the chip, fewest first; the finest in any case."""
    rows, _, v = shape
    tiles = v // TILE[1] if v % TILE[1] == 0 else 1
    ways = [Blocks(n, 1) for n in _divisors(rows)]
    ways += [Blocks(rows, n) for n in _divisors(tiles) if n > 1]
    ways = [way for way in ways if way.count <= MOST] or ways[:1]
    fitting = [way for way in ways if _held(shape, dense, way) <= VMEM]
    yield from fitting or ways[-1:]


def _held(shape: tuple[int, ...], dense: bool, way: Blocks) -> int:
    """Bytes of a chip's own memory: own states twice (the next is fetched), the one that arrived,
    two that leave; transitions twice, of at least a tile's lanes."""
    rows, k, v = shape
    wide = lambda n: -(-n // TILE[1]) * TILE[1]  # noqa: E731
    state = k * wide(v // way.columns)
    return 4 * (rows // way.rows) * (5 * state + 2 * k * wide(k if dense else 1))


def _divisors(whole: int) -> list[int]:
    return [n for n in range(1, whole + 1) if whole % n == 0]


def of_state(
    state: State, ranks: int, chip: Hardware, wire: str | None, asked: int | None = None
) -> tuple[int, float]:
    """Blocks and predicted seconds, one way, of a layer's state; numbers alone fill tiles."""
    shape = (state.rows, state.k, state.v)
    if shape[1:] == (1, 1):
        shape = (math.ceil(state.rows / math.prod(TILE)), *TILE)
    dense, itemsize = state.transition == "dense", 4 if wire is None else 2
    count = cut(shape, dense, ranks, chip, itemsize, asked).count
    return count, seconds(shape, dense, ranks, chip, itemsize, count)
