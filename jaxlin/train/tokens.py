"""A number that tells which tokens a step was trained on."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Int32, UInt32


def digest(tokens: Int32[Array, "b t"]) -> UInt32[Array, ""]:
    """sum over i of mix(token_i, i) mod 2^32, with i the place in the batch.

    Integer sums do not depend on their order: the same batch gives the same number however it is
    split over devices and hosts, and is counted where it is used, on the devices. `mix` is the
    finalizer of MurmurHash3 (Appleby, public domain) over both.
    """
    place = jnp.arange(tokens.size, dtype=jnp.uint32).reshape(tokens.shape)
    x = tokens.astype(jnp.uint32) * jnp.uint32(0x9E3779B1) ^ place * jnp.uint32(0x85EBCA77)
    x = (x ^ x >> 16) * jnp.uint32(0x85EBCA6B)
    x = (x ^ x >> 13) * jnp.uint32(0xC2B2AE35)
    return jnp.sum(x ^ x >> 16, dtype=jnp.uint32)
