"""The elementwise recurrence over blocks of time, with the reversed recurrence as its gradient.

h_t = a_t h_{t-1} + x_t has the adjoint  d_t = dh_t + a_{t+1} d_{t+1};  dx = d,  da_t = d_t h_{t-1}.
Both directions are the same scan of products of decays, which never exceed 1.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def linear_recurrence_chunked(
    rows: int,
    x: Float[Array, "b t d"],
    decay: Float[Array, "b t d"],
    initial_state: Float[Array, "b d"],
) -> tuple[Float[Array, "b t d"], Float[Array, "b d"]]:
    """All h [b, t, d] in x's dtype and the last one; `decay` is a = exp(g), 0 at resets.

    `rows` tokens are combined at once. Residuals of the backward pass: the inputs.
    """
    h, final = _scan(rows, x.astype(initial_state.dtype), decay, initial_state)
    return h.astype(x.dtype), final


def _forward(rows: int, x: Array, decay: Array, initial_state: Array):
    return linear_recurrence_chunked(rows, x, decay, initial_state), (x, decay, initial_state)


def _backward(rows: int, saved: tuple[Array, Array, Array], cotangents: tuple[Array, Array]):
    x, decay, start = saved
    d_h, d_final = cotangents
    h, _ = _scan(rows, x.astype(start.dtype), decay, start)
    d_h = jnp.flip(d_h.astype(start.dtype), axis=1)
    # d_T starts from the final state's cotangent with factor 1, then each step with a_{t+1}.
    later = jnp.concatenate([jnp.ones_like(start)[:, None], jnp.flip(decay[:, 1:], axis=1)], axis=1)
    d, _ = _scan(rows, d_h, later, d_final)
    d = jnp.flip(d, axis=1)
    before = jnp.concatenate([start[:, None], h[:, :-1]], axis=1)
    return d.astype(x.dtype), (d * before).astype(decay.dtype), decay[:, 0] * d[:, 0]


linear_recurrence_chunked.defvjp(_forward, _backward)


def _scan(rows: int, x: Array, decay: Array, start: Array) -> tuple[Array, Array]:
    b, t, d = x.shape
    missing = -t % rows
    widths = ((0, 0), (0, missing), (0, 0))
    x, decay = jnp.pad(x, widths), jnp.pad(decay, widths, constant_values=1)
    blocks = tuple(jnp.moveaxis(a.reshape(b, -1, rows, d), 1, 0) for a in (decay, x))

    def block(state: Array, block: tuple[Array, Array]) -> tuple[Array, Array]:
        since, h = _prefix(*block)
        h = h + since * state[:, None]
        return h[:, -1], h

    final, h = jax.lax.scan(block, start, blocks)
    return jnp.moveaxis(h, 0, 1).reshape(b, -1, d)[:, :t], final


def _prefix(decay: Array, x: Array) -> tuple[Array, Array]:
    """Decay since the block's start, and h from a zero state, by an associative scan."""

    def combine(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        return second[0] * first[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(combine, (decay, x), axis=1)
