"""The public delta rule: checks, the choice of implementation, one call."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels_pallas.call import Call, call_of_heads
from kernels_pallas.chip import target
from kernels_pallas.delta_rule.reference import delta_rule_reference
from kernels_pallas.delta_rule.xla import Tokens, delta_rule_chunked, plan_for
from kernels_pallas.dispatch import choose, run_kernel
from kernels_pallas.shapes import (
    accumulation_dtype,
    check_chunk_size,
    check_decay,
    check_heads,
    expect,
    expect_floats,
    expect_whole,
    resets_of,
    scale_of,
    token_decay,
)
from kernels_pallas.vary import vary_alike


def delta_rule(
    q: Float[Array, "b t h k"],
    k: Float[Array, "b t h k"],
    v: Float[Array, "b t h v"],
    beta: Float[Array, "b t h"],
    log_decay: Float[Array, "..."] | None = None,
    *,
    scale: float | None = None,
    initial_state: Float[Array, "b h k v"] | None = None,
    segment_ids: Int[Array, "b t"] | None = None,
    chunk_size: int | None = None,
    implementation: str | None = None,
    interpret: Any = False,
) -> tuple[Float[Array, "b t h v"], Float[Array, "b h k v"]]:
    """Error-correcting writes to a matrix memory (DeltaNet, Gated DeltaNet, Kimi Delta Attention).

    For each token, S being [k, v] for each head:
        S <- Diag(exp g) S;  u = beta (v - S^T k);  S <- S + k u^T;  o = scale S^T q.

    Args:
        q, k: queries and keys [b, t, h, k]. The state stays bounded while beta |k|^2 <= 2.
        v: values [b, t, h, v].
        beta: write strength [b, t, h], 0 to 2.
        log_decay: g <= 0: None (no decay), [h], [b, t, h] or [b, t, h, k] (one a key).
        scale: factor of the outputs; k^-0.5 where not given.
        initial_state: state before the first token [b, h, k, v]; zero where not given.
        segment_ids: integers [b, t]; where one differs from its predecessor the state starts from
            zero. The initial state belongs to the segment of the first token.
        chunk_size: tokens of a chunk, a power of two; None: what was measured to be best.
        implementation: "reference" (token by token), "xla" (chunks of matrix products),
            "pallas_tpu", "pallas_gpu" (kernels), or None: chosen by platform, chip and shape;
            `explain` tells which and why.
        interpret: run a Pallas kernel in its interpreter, on any platform: True, or the parameters
            of Pallas' TPU or GPU interpreter. Has no effect where none runs.

    Returns:
        Outputs [b, t, h, v] in v's dtype, and the state after the last token in float32 (float64
        if an input is float64).

    Raises:
        ValueError: a shape, a dtype or the chunk size does not fit; a log decay is above 0 or NaN
            (seen outside jit, and as a compiled function runs with `jax_debug_nans` set).
        ImplementationError: the implementation asked for does not exist or cannot run here.

    Source: Yang et al. 2024, arXiv 2406.06484 and 2412.06464.
    """
    tokens, state = prepare(q, k, v, beta, log_decay, initial_state, segment_ids)
    factor = scale_of("delta_rule", scale, k.shape[-1])
    check_chunk_size("delta_rule", chunk_size)
    call = call_of(tokens, state)
    choice = choose(call, target(), implementation, interpret)
    if choice.implementation == "reference":
        return delta_rule_reference(*tokens, state, factor)
    if choice.implementation == "xla":
        return delta_rule_chunked(plan_for(k, factor, chunk_size), tokens, state)
    return run_kernel(call, choice, tokens, state, factor, chunk_size, interpret)


def call_of(tokens: Tokens, state: Any) -> Call:
    """What is asked of an implementation."""
    return call_of_heads("delta_rule", tokens, state)


def prepare(
    q: Array | None,
    k: Array,
    v: Array,
    beta: Array,
    log_decay: Array | None,
    initial_state: Array | None,
    segment_ids: Array | None,
) -> tuple[Tokens, Array]:
    """Arguments checked and in one form: decay [b, t, h, 1|k] or None, a state, resets [b, t]."""
    check_heads("delta_rule", k if q is None else q, k, v, initial_state, segment_ids)
    expect("delta_rule", "beta", beta, k.shape[:3], "b t h", "one write strength a head")
    expect_floats("delta_rule", beta=beta)
    expect_whole("delta_rule", beta=beta)
    check_decay("delta_rule", log_decay, k)
    given = [x for x in (q, k, v, beta, log_decay, initial_state) if x is not None]
    dtype = accumulation_dtype(*given)
    decay = token_decay(log_decay, k, dtype)
    if initial_state is None:
        initial_state = jnp.zeros((k.shape[0], *k.shape[2:], v.shape[-1]), dtype)
    tokens = Tokens(q, k, v, beta, decay, resets_of(segment_ids))
    return vary_alike((tokens, initial_state.astype(dtype)))
