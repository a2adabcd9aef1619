"""The state algebra that chunks, prefill and sequence parallelism share.

A stretch of tokens acts on the state as  S -> M S + E : `Summary(transition M, state E)`. M is a
number a head [b, h], a vector over keys [b, h, k], or a matrix [b, h, k, k]; for the elementwise
recurrence M and E are [b, d]. Stretches compose, and composition is associative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

HIGHEST = "highest"  # a product of many transitions must not lose bits to short matrix formats


class Summary(NamedTuple):
    """What a stretch of tokens does to the state: S -> M S + E."""

    transition: Float[Array, "..."]  # M
    state: Float[Array, "..."]  # E: the state after the stretch, from zero


def is_dense(summary: Summary) -> bool:
    """Whether the transition is a matrix a head."""
    return summary.transition.ndim == summary.state.ndim > 2


def act(transition: Float[Array, "..."], state: Float[Array, "..."]) -> Float[Array, "..."]:
    """M S: a matrix multiplies over keys; fewer axes scale heads or keys; [b, d] elementwise."""
    if state.ndim == 2:
        return transition * state
    if transition.ndim == state.ndim:
        return jnp.matmul(transition, state, precision=HIGHEST)
    return transition.reshape(*transition.shape, *(1,) * (state.ndim - transition.ndim)) * state


def identity(like: Summary) -> Summary:
    """The summary of no tokens, of the shapes of `like`."""
    m, e = like
    if is_dense(like):
        one = jnp.broadcast_to(jnp.eye(m.shape[-1], dtype=m.dtype), m.shape)
    else:
        one = jnp.ones_like(m)
    return Summary(one, jnp.zeros_like(e))


def compose(earlier: Summary, later: Summary) -> Summary:
    """First `earlier`, then `later`: (M2 M1, M2 E1 + E2)."""
    m1, e1 = earlier
    m2, e2 = later
    m = jnp.matmul(m2, m1, precision=HIGHEST) if is_dense(earlier) else m2 * m1
    return Summary(m, act(m2, e1) + e2)


def apply(summary: Summary, state: Float[Array, "..."]) -> Float[Array, "..."]:
    """The state after the stretch that starts from `state`: M S + E."""
    return act(summary.transition, state) + summary.state


def adjoint(summary: Summary, cotangent: Float[Array, "..."]) -> Float[Array, "..."]:
    """The cotangent of the state before the stretch from that of the state after it: M^T dS."""
    m = summary.transition
    if cotangent.ndim > 2 and m.ndim == cotangent.ndim:
        m = jnp.swapaxes(m, -1, -2)
    return act(m, cotangent)


def prefixes(summaries: Sequence[Summary]) -> list[Summary]:
    """The summary of everything before each stretch, in order."""
    before = [identity(summaries[0])]
    for summary in summaries[:-1]:
        before.append(compose(before[-1], summary))
    return before
