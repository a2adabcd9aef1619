"""The kernel that turns the cotangents of states and outputs into those of the chunks' operands.

    dR = dO S^T      dA = dO N^T      dE = N D'^T      dW = -dN S^T      dkeep = rowsum(S * D')

with D' the cotangent of the state after the chunk. Chunks do not depend on one another here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from kernels_pallas.gpu import chunks as cs
from kernels_pallas.gpu.chunks import Chunks, Sizes
from kernels_pallas.gpu.tiles import TILE, block, load, params, product, store, tile, transposed


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
        keep=jax.ShapeDtypeStruct((sizes.b * sizes.n * sizes.h * sizes.k,), jnp.float32),
        erase=keys if erases else None,
    )
    values = tile(TILE, sizes.v)
    scratch = dict(
        given=Saved(*(None if x is None else values for x in saved)),
        out=result._replace(
            **{name: tile(TILE, TILE) for name in ("read", "scores", "write")},
            keep=plgpu.SMEM((TILE,), jnp.float32),
            erase=tile(TILE, TILE) if erases else None,
        ),
        barrier=plgpu.Barrier(num_arrivals=len(jax.tree.leaves(saved))),
    )

    def body(saved: Saved, result: Chunks, scratch: dict[str, Any]) -> None:
        _run(sizes, saved, result, **scratch)

    run = plgpu.kernel(
        body,
        out_type=(result,),
        scratch_types=(scratch,),
        grid=(sizes.b * sizes.n, sizes.h, sizes.k // TILE),
        grid_names=("n", "h", "k"),
        compiler_params=params(),
        interpret=interpret,
    )
    return run(saved)[0]


def _run(
    sizes: Sizes, saved: Saved, result: Chunks, *, given: Saved, out: Chunks, barrier: Any
) -> None:
    """One chunk of one head, and 64 of its keys."""
    n, h, k = (jax.lax.axis_index(name) for name in ("n", "h", "k"))
    b = jax.lax.div(n, sizes.n)
    chunk = (b * sizes.h + h) * sizes.n + n - b * sizes.n
    keys = block(chunk * (sizes.k // TILE) + k)
    tokens = (block(n), pl.ds(h * sizes.v, sizes.v))
    windows = Saved(*(None if x is None else x.at[tokens] for x in saved))._replace(
        entering=saved.entering.at[keys, :], leaving=saved.leaving.at[keys, :]
    )
    jax.tree.map(lambda x, ref: plgpu.copy_gmem_to_smem(x, ref, barrier), windows, given)
    plgpu.barrier_wait(barrier)
    store(out.read, product((given.d_outputs, transposed(given.entering))))
    store(out.write, product((given.new, transposed(given.leaving))))
    store(out.scores, product((given.d_outputs, transposed(given.new))))
    if given.d_new is not None:
        store(out.erase, -product((given.d_new, transposed(given.entering))))
    columns = [block(i) for i in range(sizes.v // TILE)]
    kept = sum(load(given.entering.at[:, c]) * load(given.leaving.at[:, c]) for c in columns)
    out.keep[...] = jnp.sum(kept, axis=1)
    plgpu.commit_smem()
    column = block(h * (sizes.k // TILE) + k)
    place = (block(n), column)
    first = (n * sizes.h + h) * sizes.k + k * TILE
    windows = Chunks(
        *(None if x is None else x.at[place] for x in result._replace(scores=None, keep=None))
    )._replace(keep=result.keep.at[pl.ds(first, TILE)])
    jax.tree.map(plgpu.copy_smem_to_gmem, out._replace(scores=None), windows)

    @pl.when(k == 0)
    def _() -> None:
        plgpu.copy_smem_to_gmem(out.scores, result.scores.at[block(n), block(h)])

    plgpu.wait_smem_to_gmem(0)
