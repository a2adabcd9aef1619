"""The kernel that turns the cotangents of states and outputs into those of the chunks' operands.

    dR = dO S^T      dA = dO N^T      dE = N D'^T      dW = -dN S^T      dkeep = rowsum(S * D')

with D' the cotangent of the state after the chunk. Chunks do not depend on one another here.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array

from kernels_pallas.gpu import chunks as cs
from kernels_pallas.gpu.chunks import Chunks, Sizes
from kernels_pallas.gpu.tiles import (
    TILE,
    block,
    fetch,
    kernel,
    load,
    product,
    store,
    tile,
    transposed,
)


class Saved(NamedTuple):
    """What the passes along time left; bfloat16."""

    d_outputs: Any  # dO [b t, h v]
    new: Any  # N [b t, h v]
    entering: Any  # S [b h n k, v]
    leaving: Any  # D' [b h n k, v]
    d_new: Any = None  # dN [b t, h v], where the chunks erase


def gradients(sizes: Sizes, saved: Saved, *, interpret: Any = False) -> Chunks:
    """Cotangents of the operands; of `value` none, which is dN."""
    erases = saved.d_new is not None
    keys = cs.along_time(sizes, sizes.k)
    result = Chunks(
        read=keys,
        scores=cs.along_time(sizes, TILE),
        write=keys,
        value=None,
        erase=keys if erases else None,
        keep=cs.numbers_of(sizes, sizes.k),
    )
    square = tile(TILE, TILE)
    scratch = dict(
        given=Saved(*(None if x is None else tile(TILE, sizes.v) for x in saved)),
        out=Chunks(
            read=square,
            scores=square,
            write=square,
            value=None,
            erase=square if erases else None,
            keep=plgpu.SMEM((TILE,), jnp.float32),
        ),
        barrier=plgpu.Barrier(num_arrivals=len(jax.tree.leaves(saved))),
    )
    blocks = sizes.b * sizes.n * sizes.h * (sizes.k // TILE)
    return kernel("gradients", partial(_run, sizes), result, scratch, blocks, interpret)(saved)


def load_saved(
    sizes: Sizes, saved: Saved, given: Saved, place: tuple[Any, Any, Any], barrier: Any
) -> None:
    """Starts the copies of what one chunk and head left, and of 64 keys of its states."""
    n, h, k = place
    b = jax.lax.div(n, sizes.n)
    chunk = (b * sizes.h + h) * sizes.n + n - b * sizes.n
    keys = block(chunk * (sizes.k // TILE) + k)
    tokens = (block(n), pl.ds(h * sizes.v, sizes.v))
    states = (keys, slice(None))
    new = None if saved.d_new is None else tokens
    fetch(given, saved, Saved(tokens, tokens, states, states, new), barrier)


def kept(given: Saved) -> Array:
    """rowsum(S * D') for 64 keys."""
    columns = [block(i) for i in range(given.entering.shape[1] // TILE)]
    both = sum(load(given.entering.at[:, c]) * load(given.leaving.at[:, c]) for c in columns)
    return jnp.sum(both, axis=1)


def _run(
    sizes: Sizes, saved: Saved, result: Chunks, *, given: Saved, out: Chunks, barrier: Any
) -> None:
    """One chunk of one head, and 64 of its keys."""
    n, h, k = cs.chunk_head_and_keys(sizes)
    load_saved(sizes, saved, given, (n, h, k), barrier)
    plgpu.barrier_wait(barrier)
    store(out.read, product((given.d_outputs, transposed(given.entering))))
    store(out.write, product((given.new, transposed(given.leaving))))
    store(out.scores, product((given.d_outputs, transposed(given.new))))
    if given.d_new is not None:
        store(out.erase, -product((given.d_new, transposed(given.entering))))
    out.keep[...] = kept(given)
    plgpu.commit_smem()
    keys = block(n), block(h * (sizes.k // TILE) + k)
    for name in ("read", "write", "erase"):
        if getattr(out, name) is not None:
            plgpu.copy_smem_to_gmem(getattr(out, name), getattr(result, name).at[keys])
    part = block((n * sizes.h + h) * (sizes.k // TILE) + k)
    plgpu.copy_smem_to_gmem(out.keep, result.keep.at[part])

    @pl.when(k == 0)
    def _() -> None:
        plgpu.copy_smem_to_gmem(out.scores, result.scores.at[block(n), block(h)])

    plgpu.wait_smem_to_gmem(0)
