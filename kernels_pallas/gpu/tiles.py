"""Pieces that the kernels share: shared-memory tiles, products of tiles, windows of global arrays.

Mosaic GPU kernels work on 64-row tiles: a warpgroup multiplies tiles that lie in shared memory and
holds the results in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from kernels_pallas.vary import vary_alike

TILE = 64  # rows of a chunk, of a block of the state, and columns of a block of values
TILE_BYTES = 2 * TILE * TILE
SHARED_BYTES = 232448 - 4096  # what a block may use on Hopper, less barriers and scratch


def tile(*shape: int) -> Any:
    """bfloat16 shared memory in the arrangement that the matrix unit and the copy engine read."""
    swizzle: Any = plgpu.SwizzleTransform  # both are abstract by their annotations only
    tiling: Any = plgpu.TilingTransform
    arrangement = (tiling((8, 64)), swizzle(128))
    return plgpu.SMEM(shape, jnp.bfloat16, transforms=arrangement)


def block(i: Any) -> Any:
    """Tile i along an axis."""
    return pl.ds(i * TILE, TILE)


def load(ref: Any) -> jax.Array:
    """A tile [64, 64] as float32 in registers."""
    return plgpu.load(ref, layout=plgpu.Layout.WGMMA).astype(jnp.float32)


def load_global(ref: Any) -> jax.Array:
    """A float32 tile of a global array in registers."""
    return plgpu.load(ref, layout=plgpu.Layout.WGMMA, optimized=False)


def load_rows(ref: Any) -> jax.Array:
    """A vector [64] of shared memory, repeated along the columns of a tile."""
    layout = plgpu.Layout.WGMMA.reduce(1)
    vector = plgpu.load(ref, layout=layout, optimized=False)
    return jax.lax.broadcast_in_dim(vector, (TILE, TILE), (0,))


def load_columns(ref: Any) -> jax.Array:
    """A vector [64] of shared memory, repeated along the rows of a tile."""
    layout = plgpu.Layout.WGMMA.reduce(0)
    vector = plgpu.load(ref, layout=layout, optimized=False)
    return jax.lax.broadcast_in_dim(vector, (TILE, TILE), (1,))


def store(ref: Any, x: jax.Array) -> None:
    """Rounds a tile to shared memory; `plgpu.commit_smem` must follow before it is read."""
    ref[...] = x.astype(ref.dtype)


def products(*sums: Sequence[tuple[Any, Any]]) -> tuple[jax.Array, ...]:
    """Sums of products of tiles in shared memory, float32 in registers, when all are complete.

    All are in flight together: what waits for one waits for the others at no cost.
    """

    def accumulate(*totals: Any) -> tuple[jax.Array, ...]:
        for total, pairs in zip(totals, sums, strict=True):
            for left, right in pairs:
                plgpu.wgmma(total, left, right)
        return tuple(total[...] for total in totals)  # waits

    shapes = [(pairs[0][0].shape[0], pairs[0][1].shape[1]) for pairs in sums]
    kinds = [plgpu.WGMMAAccumulatorRef(shape, jnp.float32) for shape in shapes]
    return pl.run_scoped(accumulate, *kinds)


def product(*pairs: tuple[Any, Any]) -> jax.Array:
    """The sum of products of tiles in shared memory, float32 in registers, when complete."""
    return products(pairs)[0]


def transposed(ref: Any) -> Any:
    return ref.transpose((1, 0))


class Ring:
    """Shared-memory slots filled ahead by the copy engine, one item of a sequence a slot.

    `windows(item)` gives the parts of the global arrays, in the tree of `slots`.
    """

    def __init__(self, slots: Any, barrier: Any, windows: Callable[[Any], Any], items: int):
        self.slots, self.barrier, self.windows, self.items = slots, barrier, windows, items
        self.stages = jax.tree.leaves(slots)[0].shape[0]

    def start(self) -> None:
        for item in range(min(self.stages, self.items)):
            self._fetch(item, item)

    def take(self, item: Any) -> Any:
        """The refs of an item's tiles, when they have arrived."""
        slot = self._slot(item)
        plgpu.barrier_wait(self.barrier.at[slot])
        return jax.tree.map(lambda slots: slots.at[slot], self.slots)

    def refill(self, item: Any) -> None:
        """Overwrites an item's slot; every warp must be done with it (`plgpu.commit_smem`)."""

        @pl.when(item + self.stages < self.items)
        def _() -> None:
            self._fetch(item + self.stages, self._slot(item))

    def _slot(self, item: Any) -> Any:
        return item % self.stages if isinstance(item, int) else jax.lax.rem(item, self.stages)

    def _fetch(self, item: Any, slot: Any) -> None:
        def copy(slots: Any, window: Any) -> None:
            plgpu.copy_gmem_to_smem(window, slots.at[slot], self.barrier.at[slot])

        jax.tree.map(copy, self.slots, self.windows(item))


def store_split(pieces: Any, x: jax.Array) -> None:
    """x as a sum of two bfloat16 tiles, which loses 2^-17 of it; `plgpu.commit_smem` follows."""
    store(pieces.at[0], x)
    store(pieces.at[1], x - load(pieces.at[0]))


def product_of_splits(left: Any, right: Any) -> jax.Array:
    """The product of two sums of pieces, but for the product of the small ones (2^-16)."""
    (a, b), (c, d) = ((x.at[0], x.at[1]) for x in (left, right))
    return product((a, c), (a, d), (b, c))


def fetch(refs: Any, arrays: Any, windows: Any, barrier: Any) -> None:
    """Starts to copy the windows of the global arrays to shared memory."""

    def copy(ref: Any, x: Any, at: Any) -> None:
        plgpu.copy_gmem_to_smem(x.at[at], ref, barrier)

    jax.tree.map(copy, refs, arrays, windows)


def rows_and_columns() -> tuple[jax.Array, jax.Array]:
    """The row and the column of every entry of a tile."""
    iota = partial(plgpu.broadcasted_iota, jnp.int32, (TILE, TILE), layout=plgpu.Layout.WGMMA)
    return iota(0), iota(1)


def kernel(
    name: str,
    body: Callable[..., None],
    result: Any,
    scratch: dict[str, Any],
    blocks: int,
    interpret: Any,
) -> Callable[..., Any]:
    """body(*inputs, result, **scratch) for each of the blocks, whose axis is "block".

    The first axis of a CUDA grid is the only one that may be longer than 65535. Layouts are as
    the kernels write them: their inference can take minutes.
    """

    def unpacked(*refs: Any) -> None:
        *inputs, result, scratch = refs
        body(*inputs, result, **scratch)

    call = plgpu.kernel(
        unpacked,
        out_type=(result,),
        scratch_types=(scratch,),
        grid=(blocks,),
        grid_names=("block",),
        kernel_name=name,
        compiler_params=plgpu.CompilerParams(
            lowering_semantics=plgpu.LoweringSemantics.Lane,
            reduction_scratch_bytes=0,  # sums along a row stay within a warp
        ),
        interpret=interpret,
    )

    def run(*inputs: Any) -> Any:
        # In `shard_map` a kernel's results come back without the axes that they vary over.
        return vary_alike((call(*inputs)[0], inputs))[0]

    return run
