"""The state at the border of a slice: documents that end there, the state given from outside."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from kernels_pallas.exchange.api import exchange
from kernels_pallas.exchange.halo import halo
from kernels_pallas.exchange.how import Exchange
from kernels_pallas.exchange.line import Axis, Line
from kernels_pallas.monoid import Summary, act
from kernels_pallas.vary import vary_alike


def continues(segment_ids: Int[Array, "b t"] | None, axis: Axis) -> Bool[Array, " b"] | None:
    """Whether the slice's first token is of the document of the token before it; true for the
    sequence's first token. None where there are no documents."""
    if segment_ids is None:
        return None
    same = halo(segment_ids, axis, 1)[:, 0] == segment_ids[:, 0]
    return same | (Line.along(axis).rank() == 0)


def entering(
    summary: Summary,
    axis: Axis,
    how: Exchange,
    initial_state: Float[Array, "..."] | None,
    same: Bool[Array, " b"] | None,
) -> Float[Array, "..."]:
    """The state that this device's slice starts from: `exchange`, with the sequence's initial
    state (the same on all devices) and without what ends at the border (`continues`).

    Where `same` is given the transition has the batch as its first axis.
    """
    m, e = summary
    if same is not None:
        m = _where_rows(same, m)
    if initial_state is None:
        state = exchange(Summary(m, e), axis, how)
    else:
        first = Line.along(axis).rank() == 0
        e = jnp.where(first, leaving(Summary(m, e), initial_state), e)
        state = jnp.where(first, initial_state, exchange(Summary(m, e), axis, how))
    return state if same is None else _where_rows(same, state)


def leaving(summary: Summary, state: Float[Array, "..."]) -> Float[Array, "..."]:
    """M S + E, also for the transitions of `exchange` that are the same on all devices."""
    m, e = summary
    if m is None:
        return state + e
    return act(m[None] if m.ndim == 1 and e.ndim > 2 else m, state) + e


def last_state(state: Float[Array, "..."], axis: Axis) -> Float[Array, "..."]:
    """What the last device holds, on all of them."""
    line = Line.along(axis)
    state, _ = vary_alike((state, line.rank()))
    return jax.lax.psum(jnp.where(line.rank() == line.size - 1, state, 0), axis)


def _where_rows(rows: Bool[Array, " b"], x: Any) -> Any:
    return jnp.where(rows.reshape(-1, *(1,) * (x.ndim - 1)), x, 0)
