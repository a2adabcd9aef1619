"""Root-mean-square norm and its gated form."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlin.nn.param import param


def rms_norm(
    x: Float[Array, "*batch d"], scale: Float[Array, " d"], eps: float
) -> Float[Array, "*batch d"]:
    """x / sqrt(mean(x^2) + eps) * scale over the last axis; computed in float32, dtype kept.

    Source: Zhang and Sennrich 2019, arXiv 1910.07467, eq. 4.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)
    return (wide * scale).astype(x.dtype)


def l2_norm(x: Float[Array, "*batch k"], eps: float = 1e-6) -> Float[Array, "*batch k"]:
    """x / sqrt(sum(x^2) + eps) over the last axis; zero stays zero, with a finite gradient."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    wide = wide * jax.lax.rsqrt(jnp.sum(wide * wide, axis=-1, keepdims=True) + eps)
    return wide.astype(x.dtype)


class RMSNorm(nn.Module):
    """RMS norm with a learned scale [d], which starts at 1."""

    eps: float = 1e-6
    axis: str | None = None  # logical name of the scale's axis

    @nn.compact
    def __call__(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
        scale = param(self, "scale", nn.initializers.ones, (self.axis,), (x.shape[-1],))
        return rms_norm(x, scale, self.eps)
