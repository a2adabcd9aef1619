"""One chunk of the recurrence and its gradient, for all heads of a grid step: arrays [h, c, .].

With entering state S (kept transposed, [v, k], so that a decay of keys lies along the lanes),
P and E the decays since the chunk's start and to its end, M and A the decayed products of rows:
    additive:  U = V                       delta:  U = (I + beta M)^-1 beta (V - (P K) S)
    O = scale ((P Q) S + A U)              S <- keep S + (E K)^T U
Source: Yang et al. 2024, arXiv 2312.06635 section 4.2, arXiv 2406.06484 and 2412.06464.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.tpu.decay import Weights
from kernels_pallas.tpu.inverse import unit_lower_inverse
from kernels_pallas.tpu.products import Products
from kernels_pallas.tpu.rows import column, row


class Chunk(NamedTuple):
    """The tokens of a chunk. beta [h, c, 1] or None: the delta rule or the additive one."""

    q: Any
    k: Float[Array, "h c k"]
    v: Float[Array, "h c v"]
    beta: Any
    weights: Weights


class Forward(NamedTuple):
    """What the chunk computes on its way, and its backward pass reads."""

    scores: Any  # A [h, c, c]
    links: Any  # M, strictly lower
    kept: Any  # of weights.products
    read_k: Any  # P K
    wrong: Any  # V - (P K) S
    inverse: Any  # (I + beta M)^-1
    new: Array  # U


class Gradients(NamedTuple):
    """The cotangents of a chunk's inputs; None where there is no such input."""

    q: Array
    k: Array
    v: Array
    beta: Any  # [h, c, 1]
    log_decay: Any  # [h, 1, c] or [h, c, k]


def inverse(prod: Products, chunk: Chunk) -> Array:
    """(I + beta M)^-1 [h, c, c]: what of the delta rule does not depend on the state."""
    (links,), _ = chunk.weights.products([chunk.k], chunk.k)
    return unit_lower_inverse(_strict(chunk.beta * links), prod)


def forward(prod: Products, chunk: Chunk, state: Array, known: Array | None = None) -> Forward:
    """Everything but outputs and state; `known`: the inverse, where it was kept."""
    q, k, v, beta, weights = chunk
    if beta is None:
        (scores,), kept = weights.products([q], k)
        return Forward(scores, None, kept, None, None, None, v)
    (links, scores), kept = weights.products([k, q], k)
    links = _strict(links)
    solve = unit_lower_inverse(beta * links, prod) if known is None else known
    read_k = weights.since(k)
    wrong = v.astype(jnp.float32) - prod.nt(read_k, state)
    new = prod.nn(solve, beta * wrong)
    return Forward(scores, links, kept, read_k, wrong, solve, new)


def outputs(prod: Products, chunk: Chunk, state: Array, found: Forward) -> Array:
    """O / scale [h, c, v]."""
    return prod.nt(chunk.weights.since(chunk.q), state) + prod.nn(found.scores, found.new)


def advance(prod: Products, chunk: Chunk, state: Array, new: Array) -> Array:
    """The state [h, v, k] after the chunk."""
    return chunk.weights.keep(state) + prod.tn(new, chunk.weights.to_end(chunk.k))


def new_values(prod: Products, chunk: Chunk, state: Array, solve: Array) -> Array:
    """U of the delta rule from the inverse."""
    wrong = chunk.v.astype(jnp.float32) - prod.nt(chunk.weights.since(chunk.k), state)
    return prod.nn(solve, chunk.beta * wrong)


def backward(
    prod: Products, chunk: Chunk, state: Array, known: Array | None, d_out: Array, d_state: Array
) -> tuple[Gradients, Array]:
    """Cotangents of the inputs and of the entering state; d_out [h, c, v] holds the scale. `known`:
    the inverse of the delta rule."""
    q, k, v, beta, weights = chunk
    d_q = prod.nn(d_out, state)
    d_keep = weights.keep(d_state) * state
    before = weights.keep(d_state) + prod.tn(d_out, weights.since(q))
    if beta is None:
        d_scores = _lower(prod.nt(d_out, v))
        d_k = prod.nn(v, d_state)
        scores, d_q, d_k, d_decay = weights.through(q, k, d_scores, d_q, d_k, d_keep)
        d_v = prod.tn(scores, d_out) + prod.nt(weights.to_end(k), d_state)
        return Gradients(d_q, d_k, d_v, None, d_decay), before
    found = forward(prod, chunk, state, known)
    d_scores = _lower(prod.nt(d_out, found.new))
    d_k = prod.nn(found.new, d_state)
    d_new = prod.tn(found.scores, d_out) + prod.nt(weights.to_end(k), d_state)
    d_right = prod.tn(found.inverse, d_new)
    d_lower = _strict(-prod.nt(d_right, found.new))
    d_beta = jnp.sum(d_right * found.wrong, axis=2, keepdims=True)
    d_beta = d_beta + jnp.sum(d_lower * found.links, axis=2, keepdims=True)
    d_v = beta * d_right
    before = before - prod.tn(d_v, found.read_k)
    d_read_k = -prod.nn(d_v, state)
    (d_read_k, d_q), d_k, d_decay = weights.pull(
        [beta * d_lower, d_scores], found.kept, [d_read_k, d_q], d_k, d_keep
    )
    return Gradients(d_q, d_k + d_read_k, d_v, d_beta, d_decay), before


def _lower(x: Array) -> Array:
    return jnp.where(row(x.shape) >= column(x.shape), x, 0)


def _strict(x: Array) -> Array:
    return jnp.where(row(x.shape) > column(x.shape), x, 0)
