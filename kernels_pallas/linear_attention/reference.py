"""Linear attention token by token: the oracle that every other implementation must equal."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def linear_attention_reference(
    q: Float[Array, "b t h k"],
    k: Float[Array, "b t h k"],
    v: Float[Array, "b t h v"],
    log_decay: Float[Array, "b t h g"] | None,
    resets: Bool[Array, "b t"] | None,
    initial_state: Float[Array, "b h k v"],
    scale: float,
) -> tuple[Float[Array, "b t h v"], Float[Array, "b h k v"]]:
    """Outputs [b, t, h, v] in v's dtype and the final state in the dtype of `initial_state`.

    S_t = Diag(exp g_t) S_{t-1} + k_t v_t^T;  o_t = scale S_t^T q_t. g is 1 (a head) or k (a key).
    A plain `lax.scan`, differentiable in forward and reverse mode and to any order; its gradient
    keeps every state. Source: Yang et al. 2024, arXiv 2312.06635, eq. 3.
    """
    dtype = initial_state.dtype

    def step(state: Array, token: tuple) -> tuple[Array, Array]:
        q, k, v, g, reset = token
        if reset is not None:
            state = jnp.where(reset[:, None, None, None], 0, state)
        if g is not None:
            state = jnp.exp(g)[..., None] * state
        state = state + k[..., None] * v[..., None, :]
        return state, jnp.sum(state * q[..., None], axis=-2)

    wide = [None if x is None else x.astype(dtype) for x in (q, k, v, log_decay)]
    by_time = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), (*wide, resets))
    state, outputs = jax.lax.scan(step, initial_state, by_time)
    return (scale * jnp.moveaxis(outputs, 0, 1)).astype(v.dtype), state
