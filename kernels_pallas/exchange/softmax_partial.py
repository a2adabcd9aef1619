"""Softmax over keys that come in parts: sums so far, their union, and gradients of one part.

Queries are grouped by the kv head that they read: g groups of j heads.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

LOW = -1e30  # below any score; finite, so that differences of two of them are


class Partial(NamedTuple):
    """Sums over the keys seen so far, in units of exp(top)."""

    outputs: Float[Array, "b g j t v"]  # sum_s exp(score_s - top) v_s
    total: Float[Array, "b g j t"]  # sum_s exp(score_s - top)
    top: Float[Array, "b g j t"]  # the largest score


def partial(
    q: Float[Array, "b t g j k"],
    k: Float[Array, "b s g k"],
    v: Float[Array, "b s g v"],
    mask: Bool[Array, "_ 1 t s"],
    scale: float,
) -> Partial:
    """Of the keys s where `mask` is true; a query that sees none has top = `LOW` and no sums."""
    scores = _scores(q, k, mask, scale)
    top = jnp.max(scores, axis=-1)
    weights = jnp.where(mask[:, :, None], jnp.exp(scores - top[..., None]), 0)
    outputs = _product("bgjts,bsgv->bgjtv", weights.astype(v.dtype), v)
    return Partial(outputs, jnp.sum(weights, axis=-1), top)


def nothing(q: Float[Array, "b t g j k"], columns: int, dtype: jnp.dtype) -> Partial:
    """Before the first part, for values of `columns`."""
    b, t, g, j, _ = q.shape
    zeros = jnp.zeros((b, g, j, t), dtype)
    return Partial(jnp.zeros((*zeros.shape, columns), dtype), zeros, zeros + LOW)


def join(a: Partial, b: Partial) -> Partial:
    """Over the keys of both (online softmax; Milakov and Gimelshein 2018, arXiv 1805.02867)."""
    top = jnp.maximum(a.top, b.top)
    of_a, of_b = jnp.exp(a.top - top), jnp.exp(b.top - top)
    outputs = of_a[..., None] * a.outputs + of_b[..., None] * b.outputs
    return Partial(outputs, of_a * a.total + of_b * b.total, top)


class Kept(NamedTuple):
    """What the gradients need of a block of queries, whichever keys come."""

    q: Float[Array, "b t g j k"]
    d_outputs: Float[Array, "b g j t v"]
    total: Float[Array, "b g j t"]  # over all keys, in units of exp(top)
    top: Float[Array, "b g j t"]
    along: Float[Array, "b g j t"]  # sum_v d_outputs outputs: the part of d_scores alike for all


def gradients(
    kept: Kept,
    k: Float[Array, "b s g k"],
    v: Float[Array, "b s g v"],
    mask: Bool[Array, "_ 1 t s"],
    scale: float,
) -> tuple[Float[Array, "b t g j k"], Float[Array, "b s g k"], Float[Array, "b s g v"]]:
    """dq of these keys, dk and dv of these queries, in the dtype of the sums.

    p = exp(score - top) / total, dv = p^T do, ds = p (do v^T - along), dq = scale ds k,
    dk = scale ds^T q
    (Dao 2023, arXiv 2307.08691, Algorithm 2, but for log(total), which would round p).
    """
    q = kept.q
    # Where the mask is false, exp(LOW - top) is 0.
    p = jnp.exp(_scores(q, k, mask, scale) - kept.top[..., None]) / kept.total[..., None]
    d_p = _product("bgjtv,bsgv->bgjts", kept.d_outputs, v)
    d_scores = (p * (d_p - kept.along[..., None]) * scale).astype(q.dtype)
    d_v = _product("bgjts,bgjtv->bsgv", p.astype(v.dtype), kept.d_outputs)
    d_q = _product("bgjts,bsgk->btgjk", d_scores, k)
    d_k = _product("bgjts,btgjk->bsgk", d_scores, q)
    return d_q, d_k, d_v


def _scores(q: Array, k: Array, mask: Array, scale: float) -> Array:
    scores = _product("btgjk,bsgk->bgjts", q, k) * scale
    return jnp.where(mask[:, :, None], scores, LOW)


def _product(equation: str, a: Array, b: Array) -> Array:
    """Operands as they are, sums in float32 (float64 of float64)."""
    dtype = jnp.promote_types(jnp.result_type(a, b), jnp.float32)
    return jnp.einsum(equation, a, b, preferred_element_type=dtype)
