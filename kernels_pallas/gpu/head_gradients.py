"""The kernel of the cotangents of q, k and the decays, where the chunks have one decay a head.

With D' the cotangent of the state after the chunk, X = dO S^T, Y = N D'^T and
B = scale weights * (dO N^T):
    dq = since X + B k    dk = to_end Y + B^T q    dsince = rowsum(q * X)    dto_end = rowsum(k * Y)
    dW = -dN S^T    dkeep = rowsum(S * D')
and the gates within the chunk from A * (dO N^T). Chunks do not depend on one another here.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from kernels_pallas.gpu import chunks as cs
from kernels_pallas.gpu import within
from kernels_pallas.gpu.chunks import Sizes
from kernels_pallas.gpu.gradients import Saved, kept, load_saved
from kernels_pallas.gpu.tiles import (
    TILE,
    block,
    fetch,
    kernel,
    load,
    load_rows,
    product,
    store,
    tile,
    transposed,
)


class Head(NamedTuple):
    """Operands of the chunks, or (the last four by block of 64 keys) their cotangents."""

    q: Any  # [b t, h k]
    k: Any  # [b t, h k]
    erase: Any  # W [b t, h k], only its cotangent; None where nothing is erased
    scores: Any  # A [b t, h 64], only itself
    keep: Any  # [b n h k], only its cotangent
    since: Any  # [b n h 64]
    to_end: Any  # [b n h 64]
    log_decay: Any  # [b n h 64]


def head_gradients(
    sizes: Sizes, scale: float, inputs: Head, saved: Saved, *, interpret: Any = False
) -> Head:
    """Cotangents. Those of since and to_end [b n h k/64 64] are still to be summed over k/64; that
    of log_decay is the part within the chunk. Where the chunks erase, that of k is float32: the
    part that comes by way of U and W may cancel it."""
    blocks = sizes.k // TILE
    keys, numbers = cs.along_time(sizes, sizes.k), cs.numbers_of(sizes, TILE)
    parts = cs.numbers_of(sizes, sizes.k)
    result = Head(keys, keys, None, None, parts, parts, parts, numbers)
    if saved.d_new is not None:
        result = result._replace(k=cs.along_time(sizes, sizes.k, jnp.float32), erase=keys)
    vector = plgpu.SMEM((TILE,), jnp.float32)
    square = tile(TILE, TILE)
    scratch = dict(
        given=Saved(*(None if x is None else tile(TILE, sizes.v) for x in saved)),
        own=Head(square, square, None, None, None, vector, vector, vector),
        out=Head(None, None, None, None, vector, vector, vector, vector),
        barrier=plgpu.Barrier(num_arrivals=len(jax.tree.leaves((saved, inputs))) - 1),
        scores_barrier=plgpu.Barrier(),
        decay=within.scratch(),
    )
    total = sizes.b * sizes.n * sizes.h * blocks
    return kernel("head_gradients", partial(_run, sizes, scale), result, scratch, total, interpret)(
        inputs, saved
    )


def _run(
    sizes: Sizes,
    scale: float,
    inputs: Head,
    saved: Saved,
    result: Head,
    *,
    given: Saved,
    own: Head,
    out: Head,
    barrier: Any,
    scores_barrier: Any,
    decay: dict[str, Any],
) -> None:
    """One chunk of one head, and 64 of its keys."""
    n, h, k = cs.chunk_head_and_keys(sizes)
    load_saved(sizes, saved, given, (n, h, k), barrier)
    keys = block(n), block(h * (sizes.k // TILE) + k)
    chunk = block(n * sizes.h + h)
    windows = Head(keys, keys, None, None, None, chunk, chunk, chunk)
    fetch(own, inputs._replace(scores=None), windows, barrier)
    plgpu.barrier_wait(barrier)
    d_scores = product((given.d_outputs, transposed(given.new)))
    weights = within.weights(own.log_decay, **decay)
    # Memory that is free again holds what comes next: two blocks of threads fit at k = v = 128.
    inner, scores = decay["ones"], decay["pieces"].at[0]
    store(inner, scale * weights * d_scores)
    plgpu.commit_smem()

    @pl.when(k == 0)
    def _() -> None:
        window = inputs.scores.at[block(n), block(h)]
        plgpu.copy_gmem_to_smem(window, scores, scores_barrier)

    read = product((given.d_outputs, transposed(given.entering)))
    out.since[...] = jnp.sum(load(own.q) * read, axis=1)
    d_q = load_rows(own.since) * read + product((inner, own.k))
    write = product((given.new, transposed(given.leaving)))
    out.to_end[...] = jnp.sum(load(own.k) * write, axis=1)
    d_k = load_rows(own.to_end) * write + product((transposed(inner), own.q))
    out.keep[...] = kept(given)
    store(own.q, d_q)
    if result.erase is None:
        store(own.k, d_k)
    else:
        result.k.at[keys][...] = d_k

    @pl.when(k == 0)
    def _() -> None:
        plgpu.barrier_wait(scores_barrier)
        out.log_decay[...] = within.pull_weights(load(scores) * d_scores, **decay)

    if result.erase is not None:
        store(inner, -product((given.d_new, transposed(given.entering))))
    plgpu.commit_smem()
    part = block((n * sizes.h + h) * (sizes.k // TILE) + k)
    plgpu.copy_smem_to_gmem(own.q, result.q.at[keys])
    if result.erase is None:
        plgpu.copy_smem_to_gmem(own.k, result.k.at[keys])
    else:
        plgpu.copy_smem_to_gmem(inner, result.erase.at[keys])
    for name in ("keep", "since", "to_end"):
        plgpu.copy_smem_to_gmem(getattr(out, name), getattr(result, name).at[part])

    @pl.when(k == 0)
    def _() -> None:
        plgpu.copy_smem_to_gmem(out.log_decay, result.log_decay.at[chunk])

    plgpu.wait_smem_to_gmem(0)
