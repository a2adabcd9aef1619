"""The kernel that runs forward through the chunks of a head, for one block of value columns."""

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
)


class Forward(NamedTuple):
    """The final state float32 [b h k, v], and what else was asked for."""

    final: Any
    outputs: Any = None  # [b t, h v]
    entering: Any = None  # the state before each chunk [b h n k, v]
    new: Any = None  # N [b t, h v]


def forward(
    sizes: Sizes,
    chunks: Chunks,
    initial_state: Float[Array, "bhk v"],
    *,
    states: bool = False,
    interpret: Any = False,
) -> Forward:
    """The outputs, or with `states` what the backward pass wants instead of them."""
    inputs = chunks._replace(read=None, scores=None, since=None) if states else chunks
    erases = chunks.erase is not None
    result = Forward(
        final=cs.state_of(sizes),
        outputs=None if states else cs.along_time(sizes, sizes.v),
        entering=cs.states_of(sizes) if states else None,
        new=cs.along_time(sizes, sizes.v) if states and erases else None,
    )
    tiles = {"new": erases, "out": not states}
    run = along_time("forward", _run, sizes, inputs, result, interpret, **tiles)
    return run(inputs, initial_state)


def _run(
    sizes: Sizes,
    inputs: Chunks,
    initial: Any,
    result: Forward,
    *,
    slots: Chunks,
    state: Any,
    new: Any,
    out: Any,
    barrier: Any,
) -> None:
    """One head b, h and one block of value columns, chunk after chunk."""
    at = cs.Place.here(sizes)
    ring = Ring(slots, barrier, lambda n: at.windows(inputs, n), sizes.n)
    ring.start()

    def step(n: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        chunk = ring.take(n)
        if result.entering is not None:
            plgpu.copy_smem_to_gmem(state, at.state(result.entering, n))
        if chunk.erase is not None:
            _write(chunk, state, new)
        if result.new is not None:
            plgpu.copy_smem_to_gmem(new, at.values(result.new, n))
        if result.outputs is not None:
            outputs = _outputs(chunk, state, chunk.value if chunk.erase is None else new)
            plgpu.wait_smem_to_gmem(0, wait_read_only=True)  # of the chunk before
            store(out, outputs)
            plgpu.commit_smem()
            plgpu.copy_smem_to_gmem(out, at.values(result.outputs, n))
        if chunk.to_end is not None and chunk.erase is None:
            store(chunk.value, load_rows(chunk.to_end) * load(chunk.value))
            plgpu.commit_smem()

        carry = cs.update(chunk.keep, carry, lambda i: [(cs.keys_of(chunk.write, i), chunk.value)])
        if result.entering is not None:
            plgpu.wait_smem_to_gmem(0, wait_read_only=True)
        cs.store_state(state, carry)
        ring.refill(n)
        return carry

    carry = at.load_state(initial)
    cs.store_state(state, carry)
    carry = jax.lax.fori_loop(0, sizes.n, step, carry)
    at.save_state(result.final, carry)
    plgpu.wait_smem_to_gmem(0)


def _write(chunk: Chunks, state: Any, new: Any) -> None:
    """N to `new`, and to_end N in the place of U: each is rounded once."""
    written = load(chunk.value) - product((chunk.erase, state))
    store(new, written)
    store(chunk.value, written if chunk.to_end is None else load_rows(chunk.to_end) * written)
    plgpu.commit_smem()


def _outputs(chunk: Chunks, state: Any, new: Any) -> Array:
    if chunk.since is None:
        return product((chunk.read, state), (chunk.scores, new))
    before, within = products([(chunk.read, state)], [(chunk.scores, new)])
    return load_rows(chunk.since) * before + within
