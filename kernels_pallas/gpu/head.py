"""The operands of additive chunks with no decay or one a head, made by kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernels_pallas.gpu.arrange import along_time, cut_time
from kernels_pallas.gpu.chunks import Chunks, Sizes
from kernels_pallas.gpu.gates import Gates, gates
from kernels_pallas.gpu.gradients import Saved
from kernels_pallas.gpu.head_gradients import Head, head_gradients
from kernels_pallas.gpu.recurrence import Plan, Pull
from kernels_pallas.gpu.scores import scores
from kernels_pallas.gpu.tiles import TILE


def head_operands(plan: Plan, tokens: Any, again: bool) -> tuple[Chunks, Pull]:
    """q, k and v as they are, the scores, and the numbers of the decay."""
    sizes = plan.sizes
    q, k = along_time(sizes, tokens.q, sizes.k), along_time(sizes, tokens.k, sizes.k)
    v = along_time(sizes, tokens.v, sizes.v)
    of, pull_gates = jax.vjp(partial(gates, sizes), tokens.log_decay)
    since = plan.scale * of.since
    within = scores(sizes, plan.scale, q, k, of.log_decay, interpret=plan.interpret)

    def pull(saved: Saved, d_value: Array) -> Any:
        inputs = Head(q, k, None, within, None, since, of.to_end, of.log_decay)
        d = head_gradients(sizes, plan.scale, inputs, saved, interpret=plan.interpret)
        d_since = plan.scale * over_keys(sizes, d.since)
        (d_decay,) = pull_gates(Gates(d.log_decay, d.keep, d_since, over_keys(sizes, d.to_end)))
        return tokens._replace(
            q=cut_time(sizes, d.q, tokens.q),
            k=cut_time(sizes, d.k, tokens.k),
            v=cut_time(sizes, d_value, tokens.v),
            log_decay=d_decay,
        )

    return Chunks(q, within, k, v, None, of.keep, since, of.to_end), pull


def over_keys(sizes: Sizes, x: Array) -> Array:
    """The sum of parts by block of keys: [b n h k/64 64] -> [b n h 64]."""
    return jnp.sum(x.reshape(-1, sizes.k // TILE, TILE), axis=1).reshape(-1)
