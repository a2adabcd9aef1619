"""What a chip can do at most: the constants of every prediction, with their sources.

Figures are of one device as JAX counts them, from Google Cloud's pages of each generation ("System
architecture": peak compute, HBM capacity and bandwidth, ICI ports and bidirectional ICI bandwidth
per chip; docs.cloud.google.com/tpu/docs/v5e, v5p, v6e, tpu7x). A link carries half of the
bidirectional bandwidth, divided by the chip's links, each way. TPU7x shows two devices a chip: they
share its figures evenly. A hop takes about a microsecond ("How to Scale Your Model",
jax-ml.github.io/scaling-book, part 2).
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

GIB = 2**30
HOP = 1e-6  # seconds from a chip to its neighbour, before the first byte


class Hardware(NamedTuple):
    """One device of a generation."""

    name: str  # as topologies call it
    kind: str  # device_kind
    flops: float  # bfloat16, a second, at most
    hbm: int  # bytes
    hbm_bandwidth: float  # bytes a second
    link: float  # bytes a second, one way, to one neighbour
    dimensions: int  # of the torus
    longest: int  # a dimension that closes to a ring when it is this long, or
    multiple: int  # when it is a multiple of this
    devices: int = 1  # of a chip


CHIPS = {
    chip.kind: chip
    for chip in (
        Hardware("v5e", "TPU v5 lite", 197e12, 16 * GIB, 819e9, 50e9, 2, 16, 16),
        Hardware("v5p", "TPU v5", 459e12, 95 * GIB, 2765e9, 100e9, 3, 16, 4),
        Hardware("v6e", "TPU v6 lite", 918e12, 32 * GIB, 1638e9, 100e9, 2, 16, 16),
        Hardware("tpu7x", "TPU7x", 1153.5e12, 96 * GIB, 3690e9, 50e9, 3, 16, 4, devices=2),
    )
}


def closes(chip: Hardware, size: int) -> bool:
    """Whether a dimension of the torus of this size has its ends joined."""
    return size % chip.multiple == 0


def links(chip: Hardware, size: int) -> int:
    """Links that carry a gather along a dimension: both ways round, where its ends are joined."""
    return 2 if closes(chip, size) else 1


def hops(chip: Hardware, size: int) -> int:
    """Links between the devices of a dimension that are farthest apart."""
    return size // 2 if closes(chip, size) else size - 1


def distance(places: int, chip: Hardware, torus: tuple[int, ...]) -> int:
    """Links between devices so many places apart, in the order in which the last dimension varies
    fastest; at least one."""
    total = 0
    for size in reversed(torus):
        places, step = divmod(places, size)
        total += min(step, size - step) if closes(chip, size) else step
    return max(1, total)


def guess_torus(chip: Hardware, ranks: int) -> tuple[int, ...]:
    """Dimensions, the largest last, of the usual slice of so many devices; (ranks,) where none
    has them. v5e of 256: (16, 16); v5p of 512: (8, 8, 8)."""
    best: tuple[int, ...] = (ranks,)
    for sizes in _products(ranks, chip.dimensions):
        if max(sizes) <= chip.longest and (max(best) > chip.longest or max(sizes) < max(best)):
            best = sizes
    return tuple(size for size in best if size > 1) or (1,)


def guess_part(chip: Hardware, ranks: int, devices: int) -> tuple[int, ...]:
    """The dimensions that an axis of `ranks` takes of the usual slice of `devices`."""
    dimensions = guess_torus(chip, devices)
    for count in range(1, len(dimensions) + 1):
        for part in itertools.combinations(dimensions, count):
            if math.prod(part) == ranks:
                return part
    return guess_torus(chip, ranks)


def _products(whole: int, count: int, least: int = 1) -> list[tuple[int, ...]]:
    """All ways to write `whole` as a product of `count` factors in ascending order."""
    if count == 1:
        return [(whole,)] if whole >= least else []
    return [
        (first, *rest)
        for first in range(least, whole + 1)
        if whole % first == 0
        for rest in _products(whole // first, count - 1, first)
    ]
