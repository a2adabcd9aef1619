"""The kernel of the decayed scores of all chunks: A_ij = scale (q_i . k_j) weights_ij, i >= j."""

from __future__ import annotations

from functools import partial
from typing import Any

from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from kernels_pallas.gpu import chunks as cs
from kernels_pallas.gpu import within
from kernels_pallas.gpu.chunks import Sizes
from kernels_pallas.gpu.tiles import TILE, block, kernel, product, store, tile, transposed


def scores(
    sizes: Sizes,
    scale: float,
    q: Float[Array, "bt hk"],
    k: Float[Array, "bt hk"],
    log_decay: Float[Array, " bnhc"],
    *,
    interpret: Any = False,
) -> Float[Array, "bt hc"]:
    """bfloat16 scores; a block of threads makes one chunk's."""
    keys = tile(TILE, sizes.k)
    scratch = dict(
        q=keys,
        k=keys,
        log_decay=plgpu.SMEM((TILE,), "float32"),
        out=tile(TILE, TILE),
        barrier=plgpu.Barrier(num_arrivals=3),
        decay=within.scratch(),
    )
    run = kernel(
        "scores",
        partial(_run, sizes, scale),
        cs.along_time(sizes, TILE),
        scratch,
        sizes.b * sizes.n * sizes.h,
        interpret,
    )
    return run(q, k, log_decay)


def _run(
    sizes: Sizes,
    scale: float,
    q_in: Any,
    k_in: Any,
    log_decay_in: Any,
    result: Any,
    *,
    q: Any,
    k: Any,
    log_decay: Any,
    out: Any,
    barrier: Any,
    decay: dict[str, Any],
) -> None:
    n, h = cs.chunk_and_head(sizes)
    keys = block(n), pl.ds(h * sizes.k, sizes.k)
    plgpu.copy_gmem_to_smem(q_in.at[keys], q, barrier)
    plgpu.copy_gmem_to_smem(k_in.at[keys], k, barrier)
    plgpu.copy_gmem_to_smem(log_decay_in.at[block(n * sizes.h + h)], log_decay, barrier)
    plgpu.barrier_wait(barrier)
    weights = within.weights(log_decay, **decay)
    store(out, scale * weights * product((q, transposed(k))))
    plgpu.commit_smem()
    plgpu.copy_smem_to_gmem(out, result.at[block(n), block(h)])
    plgpu.wait_smem_to_gmem(0)
