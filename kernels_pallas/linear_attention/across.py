"""Linear attention over a sequence that several devices hold in contiguous slices (LASP-2).

By linearity  o = o(from zero) + scale (P Q) S_in,  P the decay since the slice's start. The states
travel while the first part, all of the work within slices, is computed.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels_pallas.exchange.entering import continues, entering, last_state, leaving
from kernels_pallas.exchange.how import BEST, Exchange
from kernels_pallas.exchange.line import Axis
from kernels_pallas.linear_attention.api import linear_attention, prepare
from kernels_pallas.linear_attention.summary import linear_attention_summary
from kernels_pallas.linear_attention.xla import Tokens
from kernels_pallas.shapes import scale_of


def linear_attention_across(
    q: Float[Array, "b t h k"],
    k: Float[Array, "b t h k"],
    v: Float[Array, "b t h v"],
    log_decay: Float[Array, "..."] | None = None,
    *,
    axis: Axis,
    how: Exchange = BEST,
    scale: float | None = None,
    initial_state: Float[Array, "b h k v"] | None = None,
    segment_ids: Int[Array, "b t"] | None = None,
    **options: Any,
) -> tuple[Float[Array, "b t h v"], Float[Array, "b h k v"]]:
    """`linear_attention` for the body of `shard_map`: all arrays along time are this device's
    slices, the states and a decay [h] are those of the whole sequence.

    Args:
        axis, how: of `exchange`.
        options: chunk_size, implementation, interpret of `linear_attention`.

    Source: Sun et al. 2025, arXiv 2502.07563, Algorithm 2; with decay Qin et al. 2024.
    """
    summary = linear_attention_summary(k, v, log_decay, segment_ids=segment_ids)
    if segment_ids is None and (log_decay is None or log_decay.ndim == 1):
        shared = (
            None
            if log_decay is None
            else jnp.exp(q.shape[1] * log_decay.astype(summary.state.dtype))
        )
        summary = summary._replace(transition=shared)
    state = entering(summary, axis, how, initial_state, continues(segment_ids, axis))
    own, _ = linear_attention(q, k, v, log_decay, scale=scale, segment_ids=segment_ids, **options)
    tokens, _ = prepare(q, k, v, log_decay, None, segment_ids)
    factor = scale_of("linear_attention", scale, q.shape[-1])
    outputs = own + _read(tokens, factor * state).astype(own.dtype)
    return outputs, last_state(leaving(summary, state), axis)


@jax.checkpoint
def _read(tokens: Tokens, state: Float[Array, "b h k v"]) -> Float[Array, "b t h v"]:
    """(P Q) S for a state that enters before the first token."""
    q = tokens.q
    weighted = q.astype(state.dtype)
    if tokens.log_decay is not None:
        weighted = weighted * jnp.exp(jnp.cumsum(tokens.log_decay, axis=1))
    if tokens.resets is not None:
        reached = ~jnp.cumsum(tokens.resets, axis=1).astype(bool)
        weighted = jnp.where(reached[..., None, None], weighted, 0)
    # As in the chunked forms: what was short is multiplied short where the chip does so by itself.
    precision = "default" if jnp.dtype(q.dtype).itemsize < 4 else "highest"
    return jnp.einsum("bthk,bhkv->bthv", weighted, state, precision=precision)
