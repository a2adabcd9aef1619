"""A 64-bit digest of an array's bits: computed where the array lies, the same however it is split.

Words of 32 bits from elements x at row r (all axes but the last, flattened) and column c, mod 2^32:

    digest_i = sum over elements of mix(A_i x + B_i r + C_i c + D_i),  i in (0, 1)

`mix` is a bijection, so a change of one element always shows; others are missed once in 2^64. The
sum is modular, so that the order in which shards are added does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32

# Odd (A, B, C) and D of the two words: digits of pi and e.
CONSTANTS = (
    (0x243F6A89, 0x85A308D3, 0x13198A2F, 0x03707344),
    (0xB7E15163, 0x8AED2A6B, 0xBF715881, 0x9CF4F3C7),
)


def digests(leaves: Mapping[str, Any]) -> dict[str, str]:
    """Path -> 16 hexadecimal digits, of arrays on one mesh; the same on every process."""
    if not leaves:
        return {}
    found = np.asarray(jax.device_get(_words([*leaves.values()])))
    return {path: f"{high:08x}{low:08x}" for path, (high, low) in zip(leaves, found, strict=True)}


def words(array: Any) -> UInt32[Array, "2"]:
    """The digest of one array of any kind, as two words (traceable)."""
    bits = as_bits(jnp.asarray(array))
    bits = bits.reshape(bits.shape or (1,))
    row, column = _places(bits.shape)
    parts = [
        jnp.sum(mix(a * bits + (b * row + (c * column + d))), dtype=jnp.uint32)
        for a, b, c, d in jnp.asarray(CONSTANTS, jnp.uint32)
    ]
    return jnp.stack(parts)


def as_bits(array: Array) -> UInt32[Array, "..."]:
    """The bits of each element as uint32; wider elements become two along a new last axis."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return as_bits(jax.random.key_data(array))
    if array.dtype == bool:
        return array.astype(jnp.uint32)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        return as_bits(jnp.stack([array.real, array.imag], axis=-1))
    if array.dtype.itemsize > 4:
        return jax.lax.bitcast_convert_type(array, jnp.uint32)
    width = jnp.iinfo(array.dtype).bits if _is_integer(array) else jnp.finfo(array.dtype).bits
    return jax.lax.bitcast_convert_type(array, f"uint{width}").astype(jnp.uint32)


def mix(x: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """A bijection of 32-bit words in which every bit depends on every other (MurmurHash3's)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


@jax.jit
def _words(leaves: list[Any]) -> UInt32[Array, "leaves 2"]:
    return jnp.stack([words(leaf) for leaf in leaves])


def _places(shape: tuple[int, ...]) -> tuple[UInt32[Array, "..."], UInt32[Array, "..."]]:
    """Row and column of every element. Two words, since a stacked weight has over 2^32 elements."""
    row = jnp.zeros(shape, jnp.uint32)
    for axis, size in enumerate(shape[:-1]):
        row = row * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    return row, jax.lax.broadcasted_iota(jnp.uint32, shape, len(shape) - 1)


def _is_integer(array: Array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.integer)
