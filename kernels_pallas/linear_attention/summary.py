"""What a stretch of tokens does to linear attention's state: S -> M S + E, with a diagonal M."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels_pallas.linear_attention.api import plan_for, prepare
from kernels_pallas.linear_attention.xla import linear_attention_chunked
from kernels_pallas.monoid import Summary
from kernels_pallas.shapes import check_chunk_size


def linear_attention_summary(
    k: Float[Array, "b t h k"],
    v: Float[Array, "b t h v"],
    log_decay: Float[Array, "..."] | None = None,
    *,
    segment_ids: Int[Array, "b t"] | None = None,
    chunk_size: int | None = None,
) -> Summary:
    """Transition M = exp(sum of g), [b, h] or (per-key decay) [b, h, k], and state E [b, h, k, v].

    A reset within the tokens makes M zero. Raises ValueError where an argument does not fit.
    """
    check_chunk_size("linear_attention", chunk_size)
    tokens, start = prepare(None, k, v, log_decay, None, segment_ids)
    _, state = linear_attention_chunked(plan_for(tokens, 1.0, chunk_size), tokens, start)
    if log_decay is None or tokens.log_decay is None:
        transition = jnp.ones(start.shape[:2], start.dtype)
    else:
        transition = jnp.exp(jnp.sum(tokens.log_decay, axis=1))
        if log_decay.ndim < 4:  # one decay a head
            transition = transition[..., 0]
    if tokens.resets is not None:
        cut = jnp.any(tokens.resets, axis=1)
        transition = jnp.where(cut.reshape(-1, *(1,) * (transition.ndim - 1)), 0, transition)
    return Summary(transition, state)
