"""States from neighbour to neighbour: in doubling distances, or one after the other (LASP-1)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernels_pallas.exchange.line import Line
from kernels_pallas.exchange.wire import Wire
from kernels_pallas.monoid import Summary, apply, compose
from kernels_pallas.vary import vary_alike


def exchange_in_log_steps(own: Summary, line: Line, wire: Wire) -> Array:
    """ceil(log2 (ranks - 1)) + 1 permutations of one summary: a scan of doubling distances.

    Where no device is, zeros arrive: the summary of a stretch that forgets and writes nothing.
    """

    def received(summary: Summary, distance: int) -> Summary:
        return wire.unpack(line.pass_on(wire.pack(summary), distance), summary)

    before, distance = received(own, 1), 1
    while distance < line.size - 1:
        before = compose(received(before, distance), before)
        distance *= 2
    return before.state


def exchange_in_ring(own: Summary, line: Line, wire: Wire) -> Array:
    """ranks - 1 permutations of one state, each after the other.

    After step i the devices up to i + 1 hold what truly comes in, and keep it.
    Source: Sun et al. 2024, arXiv 2404.02882.
    """
    states_only = wire._replace(with_transition=False)

    def step(_: Array, incoming: Array) -> Array:
        out = states_only.pack(own._replace(state=apply(own, incoming)))
        return line.pass_on(out).astype(incoming.dtype)

    nothing, _ = vary_alike((jnp.zeros_like(own.state), own.state))
    return jax.lax.fori_loop(0, line.size - 1, step, nothing)
