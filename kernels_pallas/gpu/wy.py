"""The kernel of the delta rule's operands within all chunks (WY form), no decay or one a head.

    A = scale weights * (q k^T)    L = strict_lower(beta weights * (k k^T))
    U = (I + L)^-1 Diag(beta) v    W = (I + L)^-1 Diag(beta since) k

Source: Yang et al. 2024, arXiv 2406.06484 and 2412.06464.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array

from kernels_pallas.gpu import chunks as cs
from kernels_pallas.gpu import inverse, within
from kernels_pallas.gpu.chunks import Sizes
from kernels_pallas.gpu.tiles import (
    TILE,
    block,
    fetch,
    kernel,
    load_columns,
    load_rows,
    product,
    rows_and_columns,
    store,
    store_split,
    tile,
    transposed,
)


class Writes(NamedTuple):
    """Tokens of the delta rule; the last three in float32, the rest in bfloat16."""

    q: Any  # [b t, h k]
    k: Any  # [b t, h k]
    v: Any  # [b t, h v]
    log_decay: Any  # [b n h 64]
    beta: Any  # [b n h 64]
    erase: Any  # beta since [b n h 64]


class Factors(NamedTuple):
    """Operands of the chunks, and what pulls them back; bfloat16."""

    scores: Any  # A [b t, h 64]
    value: Any  # U [b t, h v]
    erase: Any  # W [b t, h k]
    inverse: Any = None  # (I + L)^-1 as two pieces side by side [b t, h 128]


def factors(
    sizes: Sizes, scale: float, writes: Writes, *, inverses: bool, interpret: Any = False
) -> Factors:
    """A, U, W and, with `inverses`, the inverse; a block of threads makes one chunk's."""
    result = Factors(*(cs.along_time(sizes, x) for x in (TILE, sizes.v, sizes.k)))
    if inverses:
        result = result._replace(inverse=cs.along_time(sizes, 2 * TILE))
    keys, vector = tile(TILE, sizes.k), plgpu.SMEM((TILE,), jnp.float32)
    scratch = dict(
        own=Writes(keys, keys, tile(TILE, sizes.v), vector, vector, vector),
        barrier=plgpu.Barrier(num_arrivals=len(writes)),
        ones=tile(TILE, TILE),
        solve=inverse.scratch(),
    )
    blocks = sizes.b * sizes.n * sizes.h
    return kernel("factors", partial(_run, sizes, scale), result, scratch, blocks, interpret)(
        writes
    )


def _run(
    sizes: Sizes,
    scale: float,
    writes: Writes,
    result: Factors,
    *,
    own: Writes,
    barrier: Any,
    ones: Any,
    solve: dict[str, Any],
) -> None:
    n, h = cs.chunk_and_head(sizes)
    rows, chunk = block(n), block(n * sizes.h + h)
    keys, values = (rows, pl.ds(h * sizes.k, sizes.k)), (rows, pl.ds(h * sizes.v, sizes.v))
    at = Writes(keys, keys, values, chunk, chunk, chunk)
    fetch(own, writes, at, barrier)
    plgpu.barrier_wait(barrier)
    weights = within.weights(own.log_decay, ones=ones, pieces=solve["lowers"])
    scores = ones  # which are not wanted any more; two blocks of threads fit at k = v = 128
    store(scores, scale * weights * product((own.q, transposed(own.k))))
    lower = load_rows(own.beta) * strictly_lower(weights * product((own.k, transposed(own.k))))
    solution = inverse.unit_lower_inverse(lower, **solve)
    # Where the solve is over, its memory holds the inverse times what scales the right sides.
    for scaled, numbers in ((solve["corners"], own.beta), (solve["lowers"], own.erase)):
        store_split(scaled, solution * load_columns(numbers))
    if result.inverse is not None:
        store_split(solve["inverses"], solution)
    plgpu.commit_smem()
    if result.inverse is not None:
        for i in range(2):
            piece = result.inverse.at[rows, block(2 * h + i)]
            plgpu.copy_smem_to_gmem(solve["inverses"].at[i], piece)
    _multiply(solve["corners"], own.v)
    _multiply(solve["lowers"], own.k)
    plgpu.commit_smem()
    plgpu.copy_smem_to_gmem(scores, result.scores.at[rows, block(h)])
    plgpu.copy_smem_to_gmem(own.v, result.value.at[values])
    plgpu.copy_smem_to_gmem(own.k, result.erase.at[keys])
    plgpu.wait_smem_to_gmem(0)


def strictly_lower(x: Array) -> Array:
    row, column = rows_and_columns()
    return jnp.where(row > column, x, 0.0)


def _multiply(pieces: Any, x: Any) -> None:
    """x [64, .] <- (sum of pieces) x, in place."""
    for i in range(x.shape[1] // TILE):
        part = x.at[:, block(i)]
        store(part, product((pieces.at[0], part), (pieces.at[1], part)))
