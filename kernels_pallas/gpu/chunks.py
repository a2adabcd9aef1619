"""The one problem that the GPU kernels solve: chunks of 64 tokens that a state passes through.

    N = U - W S        O = R S + A N        S <- diag(keep) S + E^T N

for each chunk and head: R reads the state, A reads the chunk itself (lower triangle), E writes,
W erases (the delta rule; absent for additive memories, where N = U), and `keep` is what the decay
leaves of the state. With one decay a head R = since q and E = to_end k, for numbers `since` and
`to_end` a token, which the kernels multiply in. With one decay a key there are no such numbers:
R and E come ready. Arrays along time are [b t, h x], which is the layout of the public ops, so
nothing is transposed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array

from kernels_pallas.gpu.tiles import (
    TILE,
    block,
    load_global,
    load_rows,
    product,
    products,
    store,
    transposed,
)


class Sizes(NamedTuple):
    """b sequences of n chunks, h heads; k and v are multiples of 64."""

    b: int
    n: int
    h: int
    k: int
    v: int


class Chunks(NamedTuple):
    """What the chunks do; the last three in float32, the rest in bfloat16. None: not there."""

    read: Any  # R, or q [b t, h k]
    scores: Any  # A [b t, h 64]
    write: Any  # E, or k [b t, h k]
    value: Any  # U [b t, h v]
    erase: Any  # W [b t, h k]
    keep: Any  # [b n h k]
    since: Any = None  # [b n h 64]
    to_end: Any = None  # [b n h 64]


class Place(NamedTuple):
    """Where a block of threads works: a sequence, a head, a block of 64 value columns."""

    sizes: Sizes
    b: Any
    h: Any
    v: Any

    @classmethod
    def here(cls, sizes: Sizes) -> Place:
        """From the index in a grid of b h v / 64 blocks, the blocks of a head side by side."""
        columns = sizes.v // TILE
        head, v = _divide(jax.lax.axis_index("block"), columns)
        return cls(sizes, *_divide(head, sizes.h), v)

    def windows(self, inputs: Chunks, n: Any) -> Chunks:
        """The parts of the arrays that chunk n reads."""
        size = self.sizes
        rows, keys = block(self.b * size.n + n), pl.ds(self.h * size.k, size.k)
        chunk = (self.b * size.n + n) * size.h + self.h
        ready = inputs._replace(value=None)
        keep, numbers = pl.ds(chunk * size.k, size.k), block(chunk)
        at = Chunks(
            (rows, keys),
            (rows, block(self.h)),
            (rows, keys),
            None,
            (rows, keys),
            keep,
            numbers,
            numbers,
        )
        parts = [None if x is None else x.at[where] for x, where in zip(ready, at, strict=True)]
        return Chunks(*parts)._replace(value=self.values(inputs.value, n))

    def values(self, ref: Any, n: Any) -> Any:
        """The part of [b t, h v]."""
        column = self.h * (self.sizes.v // TILE) + self.v
        return ref.at[block(self.b * self.sizes.n + n), block(column)]

    def state(self, ref: Any, n: Any) -> Any:
        """Chunk n's state in [b h n k, v]."""
        chunk = (self.b * self.sizes.h + self.h) * self.sizes.n + n
        return ref.at[pl.ds(chunk * self.sizes.k, self.sizes.k), block(self.v)]

    def load_state(self, ref: Any) -> tuple[Array, ...]:
        """Blocks [64, 64] of the state in [b h k, v]."""
        parts = [load_global(x) for x in self._blocks(ref)]
        # A sum has the type of what a loop makes of it: Pallas traces kernels without the axes
        # that arrays vary over in `shard_map`, but gives refs the types of the arrays.
        return tuple(x + 0.0 for x in parts)

    def save_state(self, ref: Any, state: tuple[Array, ...]) -> None:
        for part, x in zip(self._blocks(ref), state, strict=True):
            part[...] = x

    def _blocks(self, ref: Any) -> list[Any]:
        first = (self.b * self.sizes.h + self.h) * self.sizes.k
        parts = range(self.sizes.k // TILE)
        return [ref.at[pl.ds(first + i * TILE, TILE), block(self.v)] for i in parts]


Pairs = Callable[[int], list[tuple[Any, Any]]]


def update(
    keep: Any, state: tuple[Array, ...], added: Pairs, taken: Pairs | None = None
) -> tuple[Array, ...]:
    """keep * state + added - taken, where the pairs are the factors for each block of 64 keys."""

    def one(i: int, kept: Array) -> Array:
        if taken is None:
            return kept + product(*added(i))
        more, less = products(added(i), taken(i))
        return kept + more - less

    return tuple(one(i, load_rows(keep.at[block(i)]) * x) for i, x in enumerate(state))


def keys_of(ref: Any, i: int) -> Any:
    """64 columns of [64, k], as rows."""
    return transposed(ref.at[:, block(i)])


def store_state(ref: Any, state: tuple[Array, ...]) -> None:
    """Rounds the state to shared memory, for the products with it."""
    for i, x in enumerate(state):
        store(ref.at[block(i), :], x)
    plgpu.commit_smem()


def chunk_and_head(sizes: Sizes) -> tuple[Any, Any]:
    """The chunk (of all sequences) and the head in a grid of b n h blocks."""
    return _divide(jax.lax.axis_index("block"), sizes.h)


def chunk_head_and_keys(sizes: Sizes) -> tuple[Any, Any, Any]:
    """The chunk, the head and the tile of keys in a grid of b n h k / 64 blocks."""
    rest, k = _divide(jax.lax.axis_index("block"), sizes.k // TILE)
    return *_divide(rest, sizes.h), k


def _divide(x: Any, by: int) -> tuple[Any, Any]:
    return jax.lax.div(x, by), jax.lax.rem(x, by)


def along_time(sizes: Sizes, x: int, dtype: Any = jnp.bfloat16) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((sizes.b * sizes.n * TILE, sizes.h * x), dtype)


def state_of(sizes: Sizes) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((sizes.b * sizes.h * sizes.k, sizes.v), jnp.float32)


def states_of(sizes: Sizes) -> jax.ShapeDtypeStruct:
    """One state a chunk."""
    rows = sizes.b * sizes.h * sizes.n * sizes.k
    return jax.ShapeDtypeStruct((rows, sizes.v), jnp.bfloat16)


def numbers_of(sizes: Sizes, width: int) -> jax.ShapeDtypeStruct:
    """Numbers for each chunk and head."""
    return jax.ShapeDtypeStruct((sizes.b * sizes.n * sizes.h * width,), jnp.float32)
