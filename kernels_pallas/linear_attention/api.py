"""The public linear attention: checks, the choice of implementation, one call."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels_pallas.chunks import Plan, plan
from kernels_pallas.dispatch import choose
from kernels_pallas.linear_attention.reference import linear_attention_reference
from kernels_pallas.linear_attention.xla import Tokens, linear_attention_chunked
from kernels_pallas.shapes import accumulation_dtype, check_heads, resets_of, token_decay
from kernels_pallas.vary import vary_alike

IMPLEMENTATIONS = ("reference", "xla")


def linear_attention(
    q: Float[Array, "b t h k"],
    k: Float[Array, "b t h k"],
    v: Float[Array, "b t h v"],
    log_decay: Float[Array, "..."] | None = None,
    *,
    scale: float | None = None,
    initial_state: Float[Array, "b h k v"] | None = None,
    segment_ids: Int[Array, "b t"] | None = None,
    chunk_size: int | None = None,
    implementation: str | None = None,
) -> tuple[Float[Array, "b t h v"], Float[Array, "b h k v"]]:
    """Causal attention through an additive matrix memory (linear attention, RetNet, GLA, HGRN-2).

    For each token, S being [k, v] for each head:
        S <- Diag(exp g) S + k v^T;  o = scale S^T q.

    Args:
        q, k: queries and keys [b, t, h, k].
        v: values [b, t, h, v]. A normaliser is one more column of ones.
        log_decay: g <= 0: None (no decay), [h], [b, t, h] or [b, t, h, k] (one a key).
        scale: factor of the outputs; k^-0.5 where not given.
        initial_state: state before the first token [b, h, k, v]; zero where not given.
        segment_ids: integers [b, t]; where one differs from its predecessor the state starts from
            zero. The initial state belongs to the segment of the first token.
        chunk_size: tokens of a chunk, a power of two; only the chunked form reads it.
        implementation: "reference" (token by token), "xla" (chunks of matrix products), or None:
            chosen by shape.

    Returns:
        Outputs [b, t, h, v] in v's dtype, and the state after the last token in float32 (float64
        if an input is float64).

    Raises:
        ValueError: a shape or the chunk size does not fit.
        ImplementationError: the implementation asked for cannot run.

    Source: Yang et al. 2024, arXiv 2312.06635.
    """
    tokens, state = prepare(q, k, v, log_decay, initial_state, segment_ids)
    factor = k.shape[-1] ** -0.5 if scale is None else scale
    cut = plan_for(tokens, factor, chunk_size)
    choice = choose("linear_attention", implementation, dict.fromkeys(IMPLEMENTATIONS), k.shape[1])
    if choice.implementation == "reference":
        return linear_attention_reference(*tokens, state, factor)
    return linear_attention_chunked(cut, tokens, state)


def plan_for(tokens: Tokens, scale: float, chunk_size: int | None) -> Plan:
    """The cut for the tokens' length and form of decay on the default backend."""
    per_key = tokens.log_decay is not None and tokens.log_decay.shape[-1] > 1
    if jax.default_backend() == "cpu":  # measured: benchmarks/ops.py
        at_once = 2048 if tokens.k.shape[1] <= 2048 else 512
        rows, group = (32, 256) if per_key else (64, at_once)
    else:  # more work in a step, and the memory for it
        rows, group = 64, 4096
    return plan("linear_attention", tokens.k, scale, chunk_size or rows, group)


def prepare(
    q: Array | None,
    k: Array,
    v: Array,
    log_decay: Array | None,
    initial_state: Array | None,
    segment_ids: Array | None,
) -> tuple[Tokens, Array]:
    """Arguments checked and in one form: decay [b, t, h, 1|k] or None, a state, resets [b, t]."""
    check_heads("linear_attention", k if q is None else q, k, v, initial_state, segment_ids)
    given = [x for x in (q, k, v, log_decay, initial_state) if x is not None]
    dtype = accumulation_dtype(*given)
    decay = token_decay("linear_attention", log_decay, k, dtype)
    if initial_state is None:
        initial_state = jnp.zeros((k.shape[0], *k.shape[2:], v.shape[-1]), dtype)
    tokens = Tokens(q, k, v, decay, resets_of(segment_ids))
    return vary_alike((tokens, initial_state.astype(dtype)))
