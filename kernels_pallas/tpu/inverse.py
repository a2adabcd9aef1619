"""Inverse of unit lower triangular matrices by recursive blocks, for all heads at once.

    X = I;  for m = 1, 2, 4, ..., c / 2:  X <- X - X L_m X,
where L_m holds the lower left m x m block of each 2m x 2m block on the diagonal. It is exact and
forms no power of L: on keys that are nearly parallel those grow by orders of magnitude and cancel.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels_pallas.tpu.products import Products, halves, twice
from kernels_pallas.tpu.rows import (
    SMALL,
    earlier_blocks,
    in_corner,
    interleave,
    later_blocks,
    meeting,
)


def unit_lower_inverse(lower: Float[Array, "h c c"], prod: Products) -> Float[Array, "h c c"]:
    """(I + lower)^-1 for strictly lower triangular `lower`; float32, whatever the inputs were.

    Beside bfloat16 inputs its products take three passes (error of the inverse 1e-5; one pass
    would leave 6e-3), else full float32.
    """
    meets = meeting(lower.shape)
    inverse = jnp.where(meets == 0, 1.0, 0.0) - jnp.where(in_corner(meets, 0), lower, 0)
    for level in range(1, (lower.shape[1] - 1).bit_length()):
        corner = jnp.where(in_corner(meets, level), lower, 0)
        if level < SMALL:
            inverse = inverse - _between(inverse, corner, inverse, prod)
        else:  # only the later rows of a pair change
            m = 1 << level
            later = later_blocks(inverse, m)
            later = later - _between(later, corner, inverse, prod)
            inverse = interleave(earlier_blocks(inverse, m), later, m)
    return inverse


def _between(a: Array, b: Array, c: Array, prod: Products) -> Array:
    """a b c."""
    if prod.short:
        return twice(halves(twice(halves(a), halves(b))), halves(c))
    return prod.nn(prod.nn(a, b), c)
