"""Which gates of a chunk count for which of its rows, as matrices of zeros and ones.

Exponents are sums of log decays: products with such a matrix, which the matrix unit takes exactly;
their gradients are products with its transpose. The kernels get the matrices as an operand.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, BFloat16, Int

from kernels_pallas.tpu.rows import PACKED, SMALL, SUBLANES

UPTO, AFTER = 0, 1
DIAGONAL, ABOVE = -1, -2  # no level
DEEP = 64  # rows whose sums of two pieces fill the matrix unit's depth


class KeyPatterns(NamedTuple):
    """What kernels with a decay a key read: of each function below what it returns."""

    after: BFloat16[Array, "d d"]
    gates: BFloat16[Array, "gates sums"]
    meets: Int[Array, "2 c c"]


def key_patterns(c: int) -> KeyPatterns:
    return KeyPatterns(patterns(min(c, DEEP))[AFTER], gates(), meets(c))


def patterns(c: int) -> BFloat16[Array, "2 c c"]:
    """[., row, gate]: the gates up to the row's own, and those after it."""
    row, gate = jnp.arange(c)[:, None], jnp.arange(c)[None]
    return jnp.stack([gate <= row, gate > row]).astype(jnp.bfloat16)


def sums_within(c: int) -> list[BFloat16[Array, "c c"]]:
    """Gates that rows of the same 8 rows want, [row, gate] each: at the levels of blocks of 1, 2
    and 4 rows a row of the later block those from its block's start to its own, one of the earlier
    block those after it to its block's end; then of the 8 rows those up to its own, and after."""
    row, gate = jnp.arange(c)[:, None], jnp.arange(c)[None]
    found = []
    for level in range(SMALL):
        wanted = jnp.where((row >> level) & 1 == 1, gate <= row, gate > row)
        found.append(wanted & (row >> level == gate >> level))
    tile = row // SUBLANES == gate // SUBLANES
    found += [tile & (gate <= row), tile & (gate > row)]
    return [x.astype(jnp.bfloat16) for x in found]


def gates() -> BFloat16[Array, "gates sums"]:
    """Which of these sums, and those of whole 8 rows, count which gate, of 16 rows: [gate, sum and
    row], whose product with six arrays of cotangents, rows below rows, is that of the gates."""
    row, gate = jnp.arange(PACKED)[:, None], jnp.arange(PACKED)[None]
    whole = (row // SUBLANES == gate // SUBLANES).astype(jnp.bfloat16)
    return jnp.concatenate([*sums_within(PACKED), whole]).T


def meets(c: int) -> Int[Array, "2 c c"]:
    """The level at which the blocks of row and column meet as a pair, or DIAGONAL; the second time
    ABOVE where the column comes after the row."""
    apart = jnp.arange(c)[:, None] ^ jnp.arange(c)[None]
    level = sum((apart >> level > 0).astype(jnp.int32) for level in range(c.bit_length())) - 1
    return jnp.stack([level, jnp.where(jnp.tri(c, dtype=bool), level, ABOVE)])
