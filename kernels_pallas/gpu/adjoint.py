"""The kernel that runs backward through the chunks of a head, for one block of value columns.

With D' the cotangent of the state after a chunk:
    dN = A^T dO + E D'        D <- diag(keep) D' + R^T dO - W^T dN
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from kernels_pallas.gpu import chunks as cs
from kernels_pallas.gpu.chunks import Chunks, Sizes
from kernels_pallas.gpu.passes import along_time
from kernels_pallas.gpu.tiles import (
    Ring,
    load,
    load_rows,
    product,
    products,
    store,
    transposed,
)


class Adjoint(NamedTuple):
    """Cotangents of the initial state [b h k, v], of N, and of the state after each chunk."""

    initial: Any
    new: Any  # [b t, h v]
    leaving: Any  # [b h n k, v]


def adjoint(
    sizes: Sizes,
    chunks: Chunks,
    d_outputs: Float[Array, "bt hv"],
    d_final: Float[Array, "bhk v"],
    *,
    interpret: Any = False,
) -> Adjoint:
    """Cotangents of the states and of what was written."""
    inputs = chunks._replace(value=d_outputs)
    result = Adjoint(cs.state_of(sizes), cs.along_time(sizes, sizes.v), cs.states_of(sizes))
    run = along_time("adjoint", _run, sizes, inputs, result, interpret, new=True)
    return run(inputs, d_final)


def _run(
    sizes: Sizes,
    inputs: Chunks,
    final: Any,
    result: Adjoint,
    *,
    slots: Chunks,
    state: Any,
    new: Any,
    barrier: Any,
) -> None:
    """One head b, h and one block of value columns, the last chunk first."""
    at = cs.Place.here(sizes)
    ring = Ring(slots, barrier, lambda i: at.windows(inputs, sizes.n - 1 - i), sizes.n)
    ring.start()

    def step(i: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        n = sizes.n - 1 - i
        chunk = ring.take(i)
        d_outputs = chunk.value
        plgpu.copy_smem_to_gmem(state, at.state(result.leaving, n))
        store(new, _d_new(chunk, state))
        if chunk.since is not None:
            store(d_outputs, load_rows(chunk.since) * load(d_outputs))
        plgpu.commit_smem()
        plgpu.copy_smem_to_gmem(new, at.values(result.new, n))

        carry = cs.update(
            chunk.keep,
            carry,
            lambda i: [(cs.keys_of(chunk.read, i), d_outputs)],
            None if chunk.erase is None else lambda i: [(cs.keys_of(chunk.erase, i), new)],
        )
        plgpu.wait_smem_to_gmem(0, wait_read_only=True)
        cs.store_state(state, carry)
        ring.refill(i)
        return carry

    carry = at.load_state(final)
    cs.store_state(state, carry)
    carry = jax.lax.fori_loop(0, sizes.n, step, carry)
    at.save_state(result.initial, carry)
    plgpu.wait_smem_to_gmem(0)


def _d_new(chunk: Chunks, state: Any) -> Array:
    within = transposed(chunk.scores), chunk.value
    if chunk.to_end is None:
        return product(within, (chunk.write, state))
    inner, after = products([within], [(chunk.write, state)])
    return inner + load_rows(chunk.to_end) * after
