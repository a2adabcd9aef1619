"""The delta rule in chunks of matrix products (WY form), with a backward pass that recomputes.

In a chunk with entering state S, P_i = exp(decay since its start), E_j = exp(decay to its end):
    L = strict_lower(beta_i (k_i . k_j)_decayed)        N = (I + L)^-1 (beta V - (beta P K) S)
    O = scale ((P Q) S + lower((q_i . k_j)_decayed) N)    S <- P_C S + (E K)^T N
Everything but the products with S is done for a group of chunks at once; a scan runs over the
states of the group, another over the groups. The backward pass keeps the inputs and the state
before each group, and runs the groups in reverse, recomputing each.

Source: Yang et al. 2024, arXiv 2406.06484 (WY form) and arXiv 2412.06464 (decay).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from kernels_pallas.delta_rule.decay import weighted_products
from kernels_pallas.delta_rule.inverse import unit_lower_solve


class Plan(NamedTuple):
    """A sequence cut into `groups` stretches of `chunks` chunks of `rows` tokens each."""

    groups: int
    chunks: int
    rows: int
    scale: float
    precision: jax.lax.Precision


# Measured on CPU; an accelerator wants more work in a step and has the memory for it.
_ROWS = {"cpu": 32}
_ROWS_ELSEWHERE = 64
_GROUP_TOKENS = {"cpu": 256}
_GROUP_TOKENS_ELSEWHERE = 4096


def plan_for(k: Float[Array, "b t h k"], scale: float, chunk_size: int | None) -> Plan:
    """The cut for k's length on the default backend; groups differ by less than a chunk.

    Raises:
        ValueError: `chunk_size` is not a power of two.
    """
    platform, length = jax.default_backend(), k.shape[1]
    rows = _ROWS.get(platform, _ROWS_ELSEWHERE) if chunk_size is None else chunk_size
    if rows < 1 or rows & (rows - 1):
        raise ValueError(f"delta_rule: chunk_size is {rows}; wanted a power of two, such as 32")
    rows = min(rows, 1 << (length - 1).bit_length())
    chunks = -(-length // rows)
    most = max(1, _GROUP_TOKENS.get(platform, _GROUP_TOKENS_ELSEWHERE) // rows)
    groups = -(-chunks // most)
    # Inputs of fewer bits than float32 lose nothing to the fast formats; the inverse is exact.
    short = k.dtype.itemsize < 4
    precision = jax.lax.Precision.DEFAULT if short else jax.lax.Precision.HIGHEST
    return Plan(groups, -(-chunks // groups), rows, scale, precision)


class Tokens(NamedTuple):
    """What the op reads along time; q is None where only the state is wanted."""

    q: Float[Array, "b t h k"] | None
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
    read_state: Array | None
    read_new: Array | None


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def delta_rule_chunked(
    plan: Plan, tokens: Tokens, initial_state: Float[Array, "b h k v"]
) -> tuple[Float[Array, "b t h v"] | None, Float[Array, "b h k v"]]:
    """Outputs [b, t, h, v] in v's dtype (None without q) and the final state.

    Residuals of the backward pass: the inputs and one state for each group of chunks.
    """
    outputs, final, _ = _run_groups(plan, tokens, initial_state)
    return outputs, final


def _forward(plan: Plan, tokens: Tokens, initial_state: Array):
    outputs, final, entering = _run_groups(plan, tokens, initial_state)
    return (outputs, final), (tokens, entering)


def _backward(plan: Plan, saved: tuple[Tokens, Array], cotangents: tuple[Array | None, Array]):
    tokens, entering = saved
    d_outputs, d_final = cotangents

    def group(d_state, xs):
        tokens, state, d_outputs = xs
        resets = tokens.resets

        def run(state, tokens):
            return _run_group(plan, state, tokens._replace(resets=resets))

        _, pull = jax.vjp(run, state, tokens._replace(resets=None))
        return pull((d_state, d_outputs))

    split = partial(_split, plan)
    xs = (jax.tree.map(split, tokens), entering, jax.tree.map(split, d_outputs))
    d_initial, d_tokens = jax.lax.scan(group, d_final, xs, reverse=True)
    length = tokens.k.shape[1]
    return jax.tree.map(partial(_join, length), d_tokens), d_initial


delta_rule_chunked.defvjp(_forward, _backward)


def _run_groups(plan: Plan, tokens: Tokens, state: Array) -> tuple[Array | None, Array, Array]:
    """Outputs, final state, and the state entering each group [groups, b, h, k, v]."""

    def group(state, tokens):
        final, outputs = _run_group(plan, state, tokens)
        return final, (outputs, state)

    groups = jax.tree.map(partial(_split, plan), tokens)
    final, (outputs, entering) = jax.lax.scan(group, state, groups)
    return jax.tree.map(partial(_join, tokens.k.shape[1]), outputs), final, entering


def _split(plan: Plan, x: Array) -> Array:
    """[b, t, ...] -> [groups, b, t of a group, ...]; added tokens leave the state alone."""
    size = plan.chunks * plan.rows
    missing = plan.groups * size - x.shape[1]
    if missing:
        x = jnp.pad(x, [(0, 0), (0, missing)] + [(0, 0)] * (x.ndim - 2))
    return jnp.moveaxis(x.reshape(x.shape[0], plan.groups, size, *x.shape[2:]), 1, 0)


def _join(length: int, x: Array) -> Array:
    """The inverse of `_split` for a sequence of `length` tokens."""
    x = jnp.moveaxis(x, 0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :length]


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
    def by_chunk(x: Array) -> Array:
        return _by_chunk(plan, x.astype(dtype))

    k, v, beta = by_chunk(tokens.k), by_chunk(tokens.v), by_chunk(tokens.beta[..., None])
    q = None if tokens.q is None else by_chunk(tokens.q) * plan.scale
    log_decay = None if tokens.log_decay is None else by_chunk(tokens.log_decay)
    resets = None if tokens.resets is None else _by_chunk(plan, tokens.resets[..., None, None])
    weighted = weighted_products(
        k[None] if q is None else jnp.stack([k, q]),
        k,
        log_decay,
        None if resets is None else resets[..., 0],
        plan.precision,
    )
    right = beta * jnp.concatenate([v, weighted.since_start * k], axis=-1)
    solved = unit_lower_solve(beta * weighted.products[0], right)
    values, erase = jnp.split(solved, [v.shape[-1]], axis=-1)
    chunks = _Chunks(values, erase, weighted.to_end * k, weighted.keep, None, None)
    if q is None:
        return chunks
    return chunks._replace(read_state=weighted.since_start * q, read_new=weighted.products[1])


def _by_chunk(plan: Plan, x: Array) -> Array:
    """[b, t, h, x] -> [chunks, b, h, rows, x]."""
    x = x.reshape(x.shape[0], plan.chunks, plan.rows, *x.shape[2:])
    return jnp.moveaxis(x, (1, 3), (0, 2))
