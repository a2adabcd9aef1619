"""What a stretch of tokens does to the delta rule's state: S -> M S + E, with a dense M."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels_pallas.delta_rule.api import prepare
from kernels_pallas.delta_rule.xla import delta_rule_chunked, plan_for
from kernels_pallas.monoid import Summary
from kernels_pallas.shapes import check_chunk_size


def delta_rule_summary(
    k: Float[Array, "b t h k"],
    v: Float[Array, "b t h v"],
    beta: Float[Array, "b t h"],
    log_decay: Float[Array, "..."] | None = None,
    *,
    segment_ids: Int[Array, "b t"] | None = None,
    chunk_size: int | None = None,
) -> Summary:
    """Transition M [b, h, k, k] and state E [b, h, k, v] of the tokens, in float32.

    M is the product of (I - beta k k^T) Diag(exp g) over the tokens, later ones on the left. Its
    columns are what becomes of the unit states when nothing is written, so they run beside the
    values, as k more columns whose values are zero. A reset within the tokens makes M zero.

    Raises:
        ValueError: an argument does not fit, as in the op.
    """
    check_chunk_size("delta_rule", chunk_size)
    tokens, state = prepare(None, k, v, beta, log_decay, None, segment_ids)
    columns = jnp.pad(tokens.v, ((0, 0),) * 3 + ((0, k.shape[-1]),))
    unit = jnp.broadcast_to(
        jnp.eye(k.shape[-1], dtype=state.dtype), (*state.shape[:-1], k.shape[-1])
    )
    start = jnp.concatenate([state, unit], axis=-1)
    _, final = delta_rule_chunked(plan_for(k, 1.0, chunk_size), tokens._replace(v=columns), start)
    return Summary(final[..., v.shape[-1] :], final[..., : v.shape[-1]])
