"""Summaries of consecutive stretches [n, ...], put together: of all, or of those before one.

Weights are products of transitions over the stretch that is wanted, never quotients of two
products; sums over stretches are multiplications and a reduction, in full float32.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from kernels_pallas.monoid import Summary, act, compose, identity, is_dense
from kernels_pallas.vary import vary_alike


def before(parts: Summary, place: Any) -> Summary:
    """What the stretches 0 ... place - 1 do to a state; `place` may be computed.

    Diagonal: E = sum_{s < place} (prod_{s < u < place} M_u) E_s.
    """
    if is_dense(_first(parts)):
        return _in_turn(parts, place)
    m, e = parts
    index = jnp.arange(e.shape[0])
    earlier = (index < place).reshape(-1, *(1,) * (m.ndim - 1))
    passed = jnp.where(earlier, m, 1)
    weights = jnp.where(earlier, _product_after(passed), 0)
    return Summary(jnp.prod(passed, axis=0), jnp.sum(jax.vmap(act)(weights, e), axis=0))


def whole(parts: Summary) -> Summary:
    """What all the stretches do."""
    return before(parts, parts.state.shape[0])


def _product_after(m: Array) -> Array:
    """prod_{u > s} m_u for each s."""
    ones = jnp.ones_like(m[:1])
    return jnp.concatenate([jax.lax.cumprod(m, axis=0, reverse=True)[1:], ones], axis=0)


def _in_turn(parts: Summary, place: Any) -> Summary:
    """The same for dense transitions, one after the other."""

    def step(so_far: Summary, numbered: tuple[Array, Summary]) -> tuple[Summary, None]:
        index, part = numbered
        new = compose(so_far, part)
        return jax.tree.map(lambda a, b: jnp.where(index < place, a, b), new, so_far), None

    none, parts = vary_alike((identity(_first(parts)), parts))
    found, _ = jax.lax.scan(step, none, (jnp.arange(parts.state.shape[0]), parts))
    return found


def _first(parts: Summary) -> Summary:
    return jax.tree.map(lambda x: x[0], parts)
