"""The elementwise recurrence token by token: the oracle of the other implementation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def linear_recurrence_reference(
    x: Float[Array, "b t d"],
    log_decay: Float[Array, "b t d"],
    resets: Bool[Array, "b t"] | None,
    initial_state: Float[Array, "b d"],
) -> tuple[Float[Array, "b t d"], Float[Array, "b d"]]:
    """h_t = exp(g_t) h_{t-1} + x_t: all h in x's dtype, and the last in the state's dtype."""
    dtype = initial_state.dtype

    def step(h: Array, token: tuple) -> tuple[Array, Array]:
        x, g, reset = token
        if reset is not None:
            h = jnp.where(reset[:, None], 0, h)
        h = jnp.exp(g) * h + x
        return h, h

    tokens = (x.astype(dtype), log_decay.astype(dtype), resets)
    by_time = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), tokens)
    final, outputs = jax.lax.scan(step, initial_state, by_time)
    return jnp.moveaxis(outputs, 0, 1).astype(x.dtype), final
