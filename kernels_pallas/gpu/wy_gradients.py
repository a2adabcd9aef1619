"""The kernel that pulls the delta rule's U and W back to k, v, beta and the decay.

With T = (I + L)^-1, L = beta G, G = strict_lower(weights * (k k^T)), and R = T^T [dU dW]:
    dL = -strict_lower(R [U W]^T)    M = beta weights * dL    dk = beta since R_W + (M + M^T) k
    dv = beta R_U    dbeta = rowsum(v * R_U) + rowsum(G * dL)    derase = rowsum(k * R_W)
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from kernels_pallas.gpu import chunks as cs
from kernels_pallas.gpu import within
from kernels_pallas.gpu.chunks import Sizes
from kernels_pallas.gpu.tiles import (
    TILE,
    Ring,
    block,
    fetch,
    kernel,
    load,
    load_global,
    load_rows,
    product,
    store,
    tile,
    transposed,
)
from kernels_pallas.gpu.wy import Factors, Writes, strictly_lower


class Columns(NamedTuple):
    """64 columns of v or k, of U or W, and of the cotangent of U or W."""

    right: Any
    solution: Any
    cotangent: Any


def factor_gradients(
    sizes: Sizes,
    writes: Writes,
    solution: Factors,
    cotangents: Factors,
    d_k: Float[Array, "bt hk"],
    *,
    interpret: Any = False,
) -> Writes:
    """Cotangents of all but q by way of U and W; that of log_decay is the part within the chunk.

    `solution` holds the inverse. `d_k`, float32, is added to the cotangent of k.
    """
    keys, numbers = cs.along_time(sizes, sizes.k), cs.numbers_of(sizes, TILE)
    result = Writes(None, keys, cs.along_time(sizes, sizes.v), numbers, numbers, numbers)
    vector, square = plgpu.SMEM((TILE,), jnp.float32), tile(TILE, TILE)
    own = Writes(None, tile(TILE, sizes.k), None, vector, vector, vector)
    slots, pair = tile(1, TILE, TILE), tile(2, TILE, TILE)
    scratch = dict(
        own=own,
        columns=Columns(slots, slots, slots),
        pieces=pair,
        inverse=pair,
        kept=tile(sizes.k // TILE, TILE, TILE),
        out=square,
        vectors=Writes(None, None, None, vector, vector, vector),
        barrier=plgpu.Barrier(num_arrivals=6),
        ring=plgpu.Barrier(num_arrivals=len(Columns._fields), num_barriers=1),
        ones=square,
    )
    blocks = sizes.b * sizes.n * sizes.h
    run = kernel("factor_gradients", partial(_run, sizes), result, scratch, blocks, interpret)
    return run(writes, solution, cotangents, d_k)


def _run(
    sizes: Sizes,
    writes: Writes,
    solution: Factors,
    cotangents: Factors,
    others: Any,
    result: Writes,
    *,
    own: Writes,
    columns: Columns,
    pieces: Any,
    inverse: Any,
    kept: Any,
    out: Any,
    vectors: Writes,
    barrier: Any,
    ring: Any,
    ones: Any,
) -> None:
    n, h = cs.chunk_and_head(sizes)
    rows, chunk = block(n), block(n * sizes.h + h)
    at = Writes(None, (rows, pl.ds(h * sizes.k, sizes.k)), None, chunk, chunk, chunk)
    fetch(own, writes._replace(q=None, v=None), at, barrier)
    for i in range(2):
        piece = solution.inverse.at[rows, block(2 * h + i)]
        plgpu.copy_gmem_to_smem(piece, inverse.at[i], barrier)
    of_v = Columns(writes.v, solution.value, cotangents.value)
    of_k = Columns(writes.k, solution.erase, cotangents.erase)
    values, keys = sizes.v // TILE, sizes.k // TILE

    def windows(item: int) -> Columns:
        if item < values:
            return Columns(*(x.at[rows, block(h * values + item)] for x in of_v))
        return Columns(*(x.at[rows, block(h * keys + item - values)] for x in of_k))

    parts = Ring(columns, ring, windows, values + keys)
    parts.start()
    plgpu.barrier_wait(barrier)
    beta, erase = load_rows(own.beta), load_rows(own.erase)
    pulled = ones  # memory that is free until the decay is pulled back
    d_lower, d_beta, d_erase = 0.0, 0.0, 0.0
    for item in range(values + keys):
        part = parts.take(item)
        pull = tuple(transposed(inverse.at[i]) for i in range(2))
        right = product(*((x, part.cotangent) for x in pull))
        store(pulled, right)
        plgpu.commit_smem()
        d_lower = d_lower - product((pulled, transposed(part.solution)))
        total = jnp.sum(load(part.right) * right, axis=1)
        plgpu.wait_smem_to_gmem(0, wait_read_only=True)
        if item < values:
            d_beta = d_beta + total
            store(out, beta * right)
        else:
            d_erase = d_erase + total
            store(kept.at[item - values], erase * right)
        plgpu.commit_smem()
        if item < values:
            plgpu.copy_smem_to_gmem(out, result.v.at[rows, block(h * values + item)])
        parts.refill(item)
    weights = within.weights(own.log_decay, ones=ones, pieces=pieces)
    products = strictly_lower(weights * product((own.k, transposed(own.k))))
    d_lower = strictly_lower(jnp.asarray(d_lower))
    d_sums = beta * products * d_lower
    vectors.log_decay[...] = within.pull_weights(d_sums, ones=ones, pieces=pieces)
    vectors.beta[...] = d_beta + jnp.sum(products * d_lower, axis=1)
    vectors.erase[...] = d_erase
    store(pulled, beta * weights * d_lower)
    plgpu.commit_smem()
    parts_of_k = [(rows, block(h * keys + i)) for i in range(keys)]
    for i, part in enumerate(parts_of_k):
        k, d_k = own.k.at[:, block(i)], kept.at[i]
        d_k_before = load_global(others.at[part]) + load(d_k)
        store(d_k, d_k_before + product((pulled, k), (transposed(pulled), k)))
    plgpu.commit_smem()
    for i, part in enumerate(parts_of_k):
        plgpu.copy_smem_to_gmem(kept.at[i], result.k.at[part])
    jax.tree.map(
        lambda ref, x: plgpu.copy_smem_to_gmem(ref, x.at[chunk]),
        vectors,
        result._replace(k=None, v=None),
    )
    plgpu.wait_smem_to_gmem(0)
