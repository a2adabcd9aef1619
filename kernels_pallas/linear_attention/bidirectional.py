"""Linear attention that sees both directions: the unmasked sum of the same memory."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels_pallas.linear_attention.api import linear_attention
from kernels_pallas.shapes import accumulation_dtype, check_heads


def bidirectional_linear_attention(
    q: Float[Array, "b t h k"],
    k: Float[Array, "b t h k"],
    v: Float[Array, "b t h v"],
    *,
    scale: float | None = None,
    segment_ids: Int[Array, "b t"] | None = None,
) -> Float[Array, "b t h v"]:
    """o_i = scale sum_j (q_i . k_j) v_j over all tokens j of i's segment, in v's dtype.

    A normaliser is one more column of ones in v. Raises ValueError where a shape does not fit.
    """
    check_heads("bidirectional_linear_attention", q, k, v, None, segment_ids)
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    dtype = accumulation_dtype(q, k, v)
    if segment_ids is None:
        state = jnp.einsum("bthk,bthv->bhkv", k.astype(dtype), v.astype(dtype))
        return (factor * jnp.einsum("bthk,bhkv->bthv", q.astype(dtype), state)).astype(v.dtype)
    # Each direction counts the token itself: once too often in their sum.
    wide = [x.astype(dtype) for x in (q, k, v)]
    before, _ = linear_attention(*wide, scale=factor, segment_ids=segment_ids)
    back = [jnp.flip(x, axis=1) for x in (*wide, segment_ids)]
    after, _ = linear_attention(*back[:3], scale=factor, segment_ids=back[3])
    own = factor * jnp.sum(wide[0] * wide[1], axis=-1, keepdims=True) * wide[2]
    return (before + jnp.flip(after, axis=1) - own).astype(v.dtype)
