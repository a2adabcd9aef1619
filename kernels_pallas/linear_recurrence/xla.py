"""The elementwise recurrence over blocks of time, with the reversed recurrence as its gradient.

h_t = a_t h_{t-1} + x_t has the adjoint  d_t = dh_t + a_{t+1} d_{t+1};  dx = d;  dg_t = d_t a_t
h_{t-1}, where a = exp(g). Both directions are the same scan; its factors never exceed 1.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def linear_recurrence_chunked(
    rows: int,
    x: Float[Array, "b t d"],
    log_decay: Float[Array, "b t d"],
    resets: Bool[Array, "b t"] | None,
    initial_state: Float[Array, "b d"],
) -> tuple[Float[Array, "b t d"], Float[Array, "b d"]]:
    """All h [b, t, d] in x's dtype and the last one; a = exp(g), 0 at resets.

    `rows` tokens are combined at once. Residuals of the backward pass: the decay, the initial
    state, and the outputs (the inputs where the outputs were rounded to x's dtype).
    """
    wide = x.astype(initial_state.dtype)
    h, final = _scan(rows, wide, _factors(log_decay, resets), initial_state)
    return h.astype(x.dtype), final


def _forward(rows: int, x: Array, log_decay: Array, resets: Array | None, start: Array):
    h, final = linear_recurrence_chunked(rows, x, log_decay, resets, start)
    return (h, final), (h if h.dtype == start.dtype else x, log_decay, resets, start)


def _backward(rows: int, saved: tuple, cotangents: tuple[Array, Array]):
    h, log_decay, resets, start = saved
    d_h, d_final = cotangents
    decay, short = _factors(log_decay, resets), h.dtype
    if short != start.dtype:  # x was saved
        h, _ = _scan(rows, h.astype(start.dtype), decay, start)
    # d_T starts from the final state's cotangent with factor 1, then each step with a_{t+1}.
    later = jnp.concatenate([decay[:, 1:], jnp.ones_like(decay[:, :1])], axis=1)
    d, _ = _scan(rows, d_h.astype(start.dtype), later, d_final, reverse=True)
    before = jnp.concatenate([start[:, None], h[:, :-1]], axis=1)
    d_log_decay = (d * decay * before).astype(log_decay.dtype)
    return d.astype(short), d_log_decay, None, decay[:, 0] * d[:, 0]


linear_recurrence_chunked.defvjp(_forward, _backward)


def _factors(log_decay: Array, resets: Array | None) -> Array:
    decay = jnp.exp(log_decay)
    return decay if resets is None else jnp.where(resets[..., None], 0, decay)


def _scan(
    rows: int, x: Array, decay: Array, start: Array, reverse: bool = False
) -> tuple[Array, Array]:
    """All h and the last one; `reverse` runs from the last token to the first."""
    b, t, d = x.shape
    missing = -t % rows
    widths = ((0, 0), (0, missing), (0, 0))
    x, decay = jnp.pad(x, widths), jnp.pad(decay, widths, constant_values=1)
    cut = lambda a: jnp.moveaxis(a.reshape(b, -1, rows, d), 1, 0)  # noqa: E731

    def block(state: Array, block: tuple[Array, Array]) -> tuple[Array, Array]:
        since, h = _prefix(*block, reverse)
        h = h + since * state[:, None]
        return h[:, 0 if reverse else -1], h

    final, h = jax.lax.scan(block, start, (cut(decay), cut(x)), reverse=reverse)
    return jnp.moveaxis(h, 0, 1).reshape(b, -1, d)[:, :t], final


def _prefix(decay: Array, x: Array, reverse: bool) -> tuple[Array, Array]:
    """Decay since the block's start, and h from a zero state, by an associative scan."""

    def combine(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        return second[0] * first[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(combine, (decay, x), reverse=reverse, axis=1)
