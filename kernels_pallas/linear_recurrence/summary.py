"""What a stretch of tokens does to the elementwise recurrence's state: h -> M h + E."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels_pallas.linear_recurrence.api import linear_recurrence
from kernels_pallas.monoid import Summary
from kernels_pallas.shapes import resets_of


def linear_recurrence_summary(
    x: Float[Array, "b t d"],
    log_decay: Float[Array, "b t d"],
    *,
    segment_ids: Int[Array, "b t"] | None = None,
    chunk_size: int | None = None,
) -> Summary:
    """Transition M = exp(sum of g) [b, d], zero after a reset, and state E [b, d]."""
    _, state = linear_recurrence(x, log_decay, segment_ids=segment_ids, chunk_size=chunk_size)
    transition = jnp.exp(jnp.sum(log_decay.astype(state.dtype), axis=1))
    resets = resets_of(segment_ids)
    if resets is not None:
        transition = jnp.where(jnp.any(resets, axis=1)[:, None], 0, transition)
    return Summary(transition, state)
