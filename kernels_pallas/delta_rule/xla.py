"""The delta rule in chunks of matrix products (WY form), with a backward pass that recomputes.

In a chunk with entering state S, P_i = exp(decay since its start), E_j = exp(decay to its end):
    L = strict_lower(beta_i (k_i . k_j)_decayed)        N = (I + L)^-1 (beta V - (beta P K) S)
    O = scale ((P Q) S + lower((q_i . k_j)_decayed) N)    S <- P_C S + (E K)^T N
Everything but the products with S is done for a group of chunks at once; a scan runs over the
states of the group.

Source: Yang et al. 2024, arXiv 2406.06484 (WY form) and arXiv 2412.06464 (decay).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from kernels_pallas.chunks import Plan, by_chunk, in_groups, plan
from kernels_pallas.decay import weighted_products
from kernels_pallas.delta_rule.inverse import unit_lower_solve

# Measured on CPU; an accelerator wants more work in a step and has the memory for it.
_ROWS = {"cpu": 32}
_ROWS_ELSEWHERE = 64
_GROUP_TOKENS = {"cpu": 256}
_GROUP_TOKENS_ELSEWHERE = 4096


def plan_for(k: Float[Array, "b t h k"], scale: float, chunk_size: int | None) -> Plan:
    """The cut for k's length on the default backend. ValueError for a bad `chunk_size`."""
    platform = jax.default_backend()
    rows = _ROWS.get(platform, _ROWS_ELSEWHERE) if chunk_size is None else chunk_size
    group = _GROUP_TOKENS.get(platform, _GROUP_TOKENS_ELSEWHERE)
    return plan("delta_rule", k, scale, rows, group)


class Tokens(NamedTuple):
    """What the op reads along time."""

    q: Any  # [b, t, h, k]; None where only the state is wanted
    k: Float[Array, "b t h k"]
    v: Float[Array, "b t h v"]
    beta: Float[Array, "b t h"]
    log_decay: Float[Array, "b t h g"] | None
    resets: Bool[Array, "b t"] | None


class _Chunks(NamedTuple):
    """What the chunks of a group need besides their entering states; axes [n, b, h, c, .]."""

    values: Array
    erase: Array
    write: Array
    keep: Array
    read_state: Any  # this and the next: None without q
    read_new: Any


def delta_rule_chunked(
    plan: Plan, tokens: Tokens, initial_state: Float[Array, "b h k v"]
) -> tuple[Any, Float[Array, "b h k v"]]:
    """Outputs [b, t, h, v] in v's dtype (None without q) and the final state.

    Residuals of the backward pass: the inputs and one state for each group of chunks.
    """
    return in_groups(_run_group, plan, tokens, initial_state)


def _run_group(plan: Plan, state: Array, tokens: Tokens) -> tuple[Array, Array | None]:
    """State after a group and its outputs [b, t, h, v]."""
    chunks = _prepare(plan, tokens, state.dtype)
    product = partial(jnp.matmul, precision=plan.precision)

    def step(state, chunk):
        new = chunk.values - product(chunk.erase, state)
        return chunk.keep * state + product(chunk.write.mT, new), (state, new)

    final, (entering, new) = jax.lax.scan(step, state, chunks)
    if tokens.q is None:
        return final, None
    outputs = product(chunks.read_state, entering) + product(chunks.read_new, new)
    outputs = jnp.moveaxis(outputs, (0, 3), (1, 2))
    return final, outputs.reshape(tokens.v.shape).astype(tokens.v.dtype)


def _prepare(plan: Plan, tokens: Tokens, dtype: jnp.dtype) -> _Chunks:
    def cut(x: Array) -> Array:
        return by_chunk(plan, x.astype(dtype))

    k, v, beta = cut(tokens.k), cut(tokens.v), cut(tokens.beta[..., None])
    q = None if tokens.q is None else plan.scale * cut(tokens.q)
    log_decay = None if tokens.log_decay is None else cut(tokens.log_decay)
    resets = tokens.resets
    if resets is not None:
        resets = by_chunk(plan, resets[..., None, None])[..., 0]
    left = k[None] if q is None else jnp.stack([k, q])
    weighted = weighted_products(left, k, log_decay, resets, plan.precision)
    right = beta * jnp.concatenate([v, weighted.since_start * k], axis=-1)
    solved = unit_lower_solve(beta * weighted.products[0], right)
    values, erase = jnp.split(solved, [v.shape[-1]], axis=-1)
    chunks = _Chunks(values, erase, weighted.to_end * k, weighted.keep, None, None)
    if q is None:
        return chunks
    return chunks._replace(read_state=weighted.since_start * q, read_new=weighted.products[1])
