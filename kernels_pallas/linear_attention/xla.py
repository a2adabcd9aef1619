"""Linear attention in chunks of matrix products, with a backward pass that recomputes.

In a chunk with entering state S, P_i = exp(decay since its start), E_j = exp(decay to its end):
    O = scale ((P Q) S + lower((q_i . k_j)_decayed) V)        S <- P_C S + (E K)^T V
Source: Yang et al. 2024, arXiv 2312.06635, section 4.2.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from kernels_pallas.chunks import Plan, by_chunk, in_groups
from kernels_pallas.decay import weighted_products


class Tokens(NamedTuple):
    """What the op reads along time."""

    q: Any  # [b, t, h, k]; None where only the state is wanted
    k: Float[Array, "b t h k"]
    v: Float[Array, "b t h v"]
    log_decay: Float[Array, "b t h g"] | None
    resets: Bool[Array, "b t"] | None


def linear_attention_chunked(
    plan: Plan, tokens: Tokens, initial_state: Float[Array, "b h k v"]
) -> tuple[Any, Float[Array, "b h k v"]]:
    """Outputs [b, t, h, v] in v's dtype (None without q) and the final state.

    Residuals of the backward pass: the inputs and one state for each group of chunks.
    """
    return in_groups(_run_group, plan, tokens, initial_state)


def _run_group(plan: Plan, state: Array, tokens: Tokens) -> tuple[Array, Array | None]:
    """State after a group of chunks and its outputs [b, t, h, v]."""
    product = partial(jnp.matmul, precision=plan.precision)

    def cut(x: Any) -> Any:
        return None if x is None else by_chunk(plan, x.astype(state.dtype))

    q, k, v, log_decay = (cut(x) for x in (tokens.q, tokens.k, tokens.v, tokens.log_decay))
    resets = tokens.resets
    if resets is not None:
        resets = by_chunk(plan, resets[..., None, None])[..., 0]
    left = jnp.zeros((0, *k.shape), k.dtype) if q is None else plan.scale * q[None]
    weighted = weighted_products(left, k, log_decay, resets, plan.precision)
    added = product((weighted.to_end * k).mT, v)

    def step(state: Array, chunk: tuple[Array, Array]) -> tuple[Array, Array]:
        keep, added = chunk
        return keep * state + added, state

    final, entering = jax.lax.scan(step, state, (weighted.keep, added))
    if q is None:
        return final, None
    inter = product(weighted.since_start * q, plan.scale * entering)
    outputs = jnp.moveaxis(inter + product(weighted.products[0], v), (0, 3), (1, 2))
    return final, outputs.reshape(tokens.v.shape).astype(tokens.v.dtype)
