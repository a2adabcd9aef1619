"""The pallas_calls of a traced program, and the bytes that each moves to and from HBM."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.core
import numpy as np

LANES = 128  # an array in HBM is stored with its last axis padded to full vector registers


class Block(NamedTuple):
    """What a kernel sees of one operand in one grid step, and how often it is copied."""

    shape: tuple[int, ...]
    array: tuple[int, ...]
    dtype: np.dtype
    copies: int

    @property
    def moved(self) -> int:
        """Bytes between HBM and VMEM, with the padding of the last axis."""
        *rows, last = self.shape
        if last == self.array[-1]:
            last = -(-last // LANES) * LANES
        return self.copies * math.prod(rows) * last * self.dtype.itemsize

    @property
    def least(self) -> int:
        """Bytes of the array: what one pass over it moves."""
        return math.prod(self.array) * self.dtype.itemsize


class Call(NamedTuple):
    """One pallas_call. trips: of each loop in its body, None where they are not known."""

    name: str
    grid: tuple[int, ...]
    blocks: tuple[Block, ...]
    trips: tuple[int | None, ...]


def pallas_calls(jaxpr: Any) -> list[Call]:
    """All pallas_calls of a (closed) jaxpr in program order, also of the jaxprs inside of it."""
    return [call_of(eqn) for eqn in equations(jaxpr) if eqn.primitive.name == "pallas_call"]


def equations(jaxpr: Any) -> Iterator[Any]:
    """All equations, also of the jaxprs inside of others; not of the bodies of kernels."""
    for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield eqn
        if eqn.primitive.name != "pallas_call":
            for value in eqn.params.values():
                for inner in value if isinstance(value, (tuple, list)) else (value,):
                    if hasattr(inner, "eqns"):
                        yield from equations(inner)


def call_of(eqn: Any) -> Call:
    mapping = eqn.params["grid_mapping"]
    grid = tuple(int(n) for n in mapping.grid)
    blocks = tuple(block_of(b, grid) for b in mapping.block_mappings)
    loops = (e for e in equations(eqn.params["jaxpr"]) if e.primitive.name in ("scan", "while"))
    trips = tuple(n for n in map(trips_of, loops) if n != 1)
    return Call(str(eqn.params["name"]), grid, blocks, trips)


def trips_of(loop: Any) -> int | None:
    """How often the compiled loop's body runs: several steps of a scan may be unrolled in it."""
    if loop.primitive.name == "while":
        return None
    return loop.params["length"] // int(loop.params["unroll"])


def block_of(mapping: Any, grid: tuple[int, ...]) -> Block:
    array = mapping.array_aval
    size = lambda d: d if isinstance(d, int) else getattr(d, "block_size", 1)  # noqa: E731
    shape = tuple(size(d) for d in mapping.block_shape)
    return Block(shape, tuple(array.shape), np.dtype(array.dtype), copies_of(mapping, grid))


def copies_of(mapping: Any, grid: tuple[int, ...]) -> int:
    """Times that the block is copied: not in a step that asks for the block of the step before.

    An index map that reads prefetched scalars is unknown before the run: then every step copies.
    """
    closed = mapping.index_map_jaxpr
    jaxpr, consts = getattr(closed, "jaxpr", closed), getattr(closed, "consts", ())
    if not grid:
        return 1
    steps = np.indices(grid, np.int32).reshape(len(grid), -1)
    if len(jaxpr.invars) != len(grid):
        return steps.shape[1]
    found = jax.vmap(lambda *step: jax.core.eval_jaxpr(jaxpr, consts, *step))(*steps)
    blocks = np.stack([np.asarray(x) for x in found])
    return 1 + int(np.any(blocks[:, 1:] != blocks[:, :-1], axis=0).sum())
