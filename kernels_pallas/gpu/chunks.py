"""The one problem that the GPU kernels solve: chunks of 64 tokens that a state passes through.

    N = U - W S        O = R S + A N        S <- diag(keep) S + E^T N

for each chunk and head: R reads the state, A reads the chunk itself (lower triangle), E writes,
W erases (the delta rule; absent for additive memories, where N = U), and `keep` is what the decay
leaves of the state. Decay is folded into R, A, W, E and keep. Arrays along time are [b t, h x],
which is the layout of the public ops, so nothing is transposed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from kernels_pallas.gpu.tiles import SHARED_BYTES, TILE, block, store, tile


class Sizes(NamedTuple):
    """b sequences of n chunks, h heads; k and v are multiples of 64."""

    b: int
    n: int
    h: int
    k: int
    v: int


class Chunks(NamedTuple):
    """What the chunks do; bfloat16 but for keep, which is float32. None: not there."""

    read: Any  # R [b t, h k]
    scores: Any  # A [b t, h 64]
    write: Any  # E [b t, h k]
    value: Any  # U [b t, h v]
    keep: Any  # [b n h k]
    erase: Any = None  # W [b t, h k]


class Place(NamedTuple):
    """Where a block of threads works: a sequence, a head, a block of 64 value columns."""

    sizes: Sizes
    b: Any
    h: Any
    v: Any

    def windows(self, inputs: Chunks, n: Any) -> Chunks:
        """The parts of the arrays that chunk n reads."""
        size = self.sizes
        rows, keys = block(self.b * size.n + n), pl.ds(self.h * size.k, size.k)
        parts = [
            None if x is None else x.at[rows, columns]
            for x, columns in zip(
                (inputs.read, inputs.scores, inputs.write, inputs.erase),
                (keys, block(self.h), keys, keys),
                strict=True,
            )
        ]
        read, scores, write, erase = parts
        first = ((self.b * size.n + n) * size.h + self.h) * size.k
        keep = inputs.keep.at[pl.ds(first, size.k)]
        return Chunks(read, scores, write, self.values(inputs.value, n), keep, erase)

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
        layout = plgpu.Layout.WGMMA
        return tuple(plgpu.load(x, layout=layout, optimized=False) for x in self._blocks(ref))

    def save_state(self, ref: Any, state: tuple[Array, ...]) -> None:
        for part, x in zip(self._blocks(ref), state, strict=True):
            plgpu.store(part, x, optimized=False)

    def _blocks(self, ref: Any) -> list[Any]:
        first = (self.b * self.sizes.h + self.h) * self.sizes.k
        parts = range(self.sizes.k // TILE)
        return [ref.at[pl.ds(first + i * TILE, TILE), block(self.v)] for i in parts]


def store_state(ref: Any, state: tuple[Array, ...]) -> None:
    """Rounds the state to shared memory, for the products with it."""
    for i, x in enumerate(state):
        store(ref.at[block(i), :], x)
    plgpu.commit_smem()


def slots(inputs: Chunks, stages: int, sizes: Sizes) -> Chunks:
    """Shared memory for `stages` chunks of the inputs that are there."""
    widths = Chunks(sizes.k, TILE, sizes.k, TILE, sizes.k, sizes.k)
    kinds = [
        None if x is None else tile(stages, TILE, width)
        for x, width in zip(inputs, widths, strict=True)
    ]
    return Chunks(*kinds)._replace(keep=plgpu.SMEM((stages, sizes.k), jnp.float32))


def stages(inputs: Chunks, sizes: Sizes, fixed: int) -> int:
    """How many chunks fit into shared memory besides `fixed` tiles [64, 64]."""
    keys = sizes.k // TILE
    wide = sum(x is not None for x in (inputs.read, inputs.write, inputs.erase))
    narrow = sum(x is not None for x in (inputs.scores, inputs.value))
    tile_bytes = 2 * TILE * TILE
    slot = tile_bytes * (keys * wide + narrow) + 4 * sizes.k
    return 2 if 2 * slot + tile_bytes * fixed <= SHARED_BYTES else 1


def along_time(sizes: Sizes, x: int, dtype: Any = jnp.bfloat16) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((sizes.b * sizes.n * TILE, sizes.h * x), dtype)


def state_of(sizes: Sizes) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((sizes.b * sizes.h * sizes.k, sizes.v), jnp.float32)


def states_of(sizes: Sizes) -> jax.ShapeDtypeStruct:
    """One state a chunk."""
    rows = sizes.b * sizes.h * sizes.n * sizes.k
    return jax.ShapeDtypeStruct((rows, sizes.v), jnp.bfloat16)
