"""The operands of the delta rule's chunks with no decay or one a head, made by kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernels_pallas.gpu.arrange import along_time, by_chunk, cut_time
from kernels_pallas.gpu.chunks import Chunks, Sizes
from kernels_pallas.gpu.gates import Gates, gates
from kernels_pallas.gpu.gradients import Saved
from kernels_pallas.gpu.head import over_keys
from kernels_pallas.gpu.head_gradients import Head, head_gradients
from kernels_pallas.gpu.recurrence import Plan, Pull
from kernels_pallas.gpu.wy import Factors, Writes, factors
from kernels_pallas.gpu.wy_gradients import factor_gradients


def delta_operands(plan: Plan, tokens: Any, again: bool) -> tuple[Chunks, Pull]:
    """q and k as they are, the factors of the WY form, and the numbers of the decay."""
    sizes, interpret = plan.sizes, plan.interpret
    q, k = along_time(sizes, tokens.q, sizes.k), along_time(sizes, tokens.k, sizes.k)
    numbers = (tokens.log_decay, tokens.beta)
    (of, beta, erase), pull_numbers = jax.vjp(partial(_numbers, sizes), numbers)
    since = plan.scale * of.since
    writes = Writes(q, k, along_time(sizes, tokens.v, sizes.v), of.log_decay, beta, erase)
    made = factors(sizes, plan.scale, writes, inverses=again, interpret=interpret)

    def pull(saved: Saved, d_value: Array) -> Any:
        inputs = Head(q, k, None, made.scores, None, since, of.to_end, of.log_decay)
        d = head_gradients(sizes, plan.scale, inputs, saved, interpret=interpret)
        solution, cotangents = made._replace(scores=None), Factors(None, d_value, d.erase)
        d_writes = factor_gradients(sizes, writes, solution, cotangents, d.k, interpret=interpret)
        d_gates = Gates(
            d.log_decay + d_writes.log_decay,
            d.keep,
            plan.scale * over_keys(sizes, d.since),
            over_keys(sizes, d.to_end),
        )
        ((d_decay, d_beta),) = pull_numbers((d_gates, d_writes.beta, d_writes.erase))
        return tokens._replace(
            q=cut_time(sizes, d.q, tokens.q),
            k=cut_time(sizes, d_writes.k, tokens.k),
            v=cut_time(sizes, d_writes.v, tokens.v),
            beta=d_beta,
            log_decay=d_decay,
        )

    chunks = Chunks(q, made.scores, k, made.value, made.erase, of.keep, since, of.to_end)
    return chunks, pull


def _numbers(sizes: Sizes, given: tuple[Any, Array]) -> tuple[Gates, Array, Array]:
    """The gates, beta and beta since, of each chunk and head."""
    log_decay, beta = given
    of = gates(sizes, log_decay)
    strength = by_chunk(sizes, beta[..., None].astype(jnp.float32)).reshape(-1)
    return of, strength, strength * of.since
