"""Rotary position embedding, half-split (Su et al. 2021, arXiv 2104.09864)."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def rotate(
    x: Float[Array, "b t h k"], positions: Int[Array, "b t"], base: float
) -> Float[Array, "b t h k"]:
    """Turns the pair (x_i, x_{i+k/2}) by the angle position * base^(-2i/k); float32 inside."""
    half = x.shape[-1] // 2
    wide = jnp.promote_types(x.dtype, jnp.float32)
    frequency = base ** (-jnp.arange(half, dtype=wide) / half)
    angle = positions[:, :, None, None].astype(wide) * frequency
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x1, x2 = x[..., :half].astype(wide), x[..., half:].astype(wide)
    return jnp.concatenate([x1 * cos - x2 * sin, x2 * cos + x1 * sin], axis=-1).astype(x.dtype)
