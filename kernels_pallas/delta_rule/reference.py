"""The delta rule token by token: the oracle that every other implementation must equal."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def delta_step(
    state: Float[Array, "b h k v"],
    q: Float[Array, "b h k"],
    k: Float[Array, "b h k"],
    v: Float[Array, "b h v"],
    beta: Float[Array, "b h"],
    log_decay: Float[Array, "b h g"] | None,
    reset: Bool[Array, " b"] | None,
) -> tuple[Float[Array, "b h k v"], Float[Array, "b h v"]]:
    """One token: S <- exp(g) S; u = beta (v - S^T k); S <- S + k u^T; o = S^T q.

    g is 1 (one decay a head) or k (one a key). A reset empties the state first. Every product is
    a multiplication and a sum, so the accelerators' short matrix formats play no part.
    """
    if reset is not None:
        state = jnp.where(reset[:, None, None, None], 0, state)
    if log_decay is not None:
        state = jnp.exp(log_decay)[..., None] * state
    recalled = jnp.sum(state * k[..., None], axis=-2)
    written = beta[..., None] * (v - recalled)
    state = state + k[..., None] * written[..., None, :]
    return state, jnp.sum(state * q[..., None], axis=-2)


def delta_rule_reference(
    q: Float[Array, "b t h k"],
    k: Float[Array, "b t h k"],
    v: Float[Array, "b t h v"],
    beta: Float[Array, "b t h"],
    log_decay: Float[Array, "b t h g"] | None,
    resets: Bool[Array, "b t"] | None,
    initial_state: Float[Array, "b h k v"],
    scale: float,
) -> tuple[Float[Array, "b t h v"], Float[Array, "b h k v"]]:
    """Outputs [b, t, h, v] in v's dtype and the final state in the dtype of `initial_state`.

    A plain `lax.scan` over tokens, differentiable in forward and reverse mode and to any order;
    its gradient keeps every state, so it is for checking and for linearising, not for training.
    Source: Yang et al. 2024, arXiv 2412.06464, eq. 10; per-key decay as in Kimi Delta Attention.
    """
    dtype = initial_state.dtype
    tokens = [x.astype(dtype) for x in (q, k, v, beta)]
    tokens = tokens + [None if log_decay is None else log_decay.astype(dtype), resets]
    by_time = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), tuple(tokens))
    state, outputs = jax.lax.scan(
        lambda state, token: delta_step(state, *token), initial_state, by_time
    )
    return (scale * jnp.moveaxis(outputs, 0, 1)).astype(v.dtype), state
