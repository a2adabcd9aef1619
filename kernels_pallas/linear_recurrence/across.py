"""The elementwise recurrence over a sequence that several devices hold in contiguous slices.

h_t = h_t(from zero) + exp(g_1 + ... + g_t) h_in
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels_pallas.exchange.entering import continues, entering, last_state
from kernels_pallas.exchange.how import BEST, Exchange
from kernels_pallas.exchange.line import Axis
from kernels_pallas.linear_recurrence.api import linear_recurrence
from kernels_pallas.monoid import Summary
from kernels_pallas.shapes import resets_of


def linear_recurrence_across(
    x: Float[Array, "b t d"],
    log_decay: Float[Array, "b t d"],
    *,
    axis: Axis,
    how: Exchange = BEST,
    initial_state: Float[Array, "b d"] | None = None,
    segment_ids: Int[Array, "b t"] | None = None,
    **options: Any,
) -> tuple[Float[Array, "b t d"], Float[Array, "b d"]]:
    """`linear_recurrence` for the body of `shard_map`: x, log_decay and segment_ids are this
    device's slices, the states are those of the whole sequence.

    Args:
        axis, how: of `exchange`.
        options: chunk_size, implementation, interpret of `linear_recurrence`.
    """
    own, last = linear_recurrence(x, log_decay, segment_ids=segment_ids, **options)
    decay = jnp.exp(jnp.cumsum(log_decay.astype(last.dtype), axis=1))  # since the slice's start
    resets = resets_of(segment_ids)
    if resets is not None:
        reached = ~jnp.cumsum(resets, axis=1).astype(bool)
        decay = jnp.where(reached[..., None], decay, 0)
    summary = Summary(decay[:, -1], last)
    state = entering(summary, axis, how, initial_state, continues(segment_ids, axis))
    outputs = own + (decay * state[:, None]).astype(own.dtype)
    return outputs, last_state(decay[:, -1] * state + last, axis)
