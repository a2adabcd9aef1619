"""(I + L)^-1 of a tile within a kernel, L strictly lower triangular, to about 1e-5 of float32.

Blocks on the diagonal double: X <- X - X L_m X, where L_m is the lower left m x m block of each
pair of them, for m = 1, 2, ..., 32. No power of L is formed: on keys that are nearly parallel those
grow by many orders of magnitude and cancel. Every factor is a sum of two bfloat16 tiles.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from kernels_pallas.gpu.tiles import (
    TILE,
    product_of_splits,
    rows_and_columns,
    store_split,
    tile,
)


def scratch() -> dict[str, Any]:
    """Shared memory for `unit_lower_inverse`, free again after it."""
    return {name: tile(2, TILE, TILE) for name in ("lowers", "inverses", "corners")}


def unit_lower_inverse(
    lower: Float[Array, "c c"], *, lowers: Any, inverses: Any, corners: Any
) -> Float[Array, "c c"]:
    """The inverse in registers. `lower` is zero on its diagonal and above."""
    row, column = rows_and_columns()
    store_split(lowers, lower)
    inverse = jnp.where(row == column, 1.0, 0.0) - jnp.where(_corner(0), lower, 0.0)
    for level in range(1, TILE.bit_length() - 1):
        store_split(inverses, inverse)
        plgpu.commit_smem()
        # The inverse is block diagonal: the mask of this product is that of its left factor.
        corner = jnp.where(_corner(level), product_of_splits(lowers, inverses), 0.0)
        store_split(corners, corner)
        plgpu.commit_smem()
        inverse = inverse - product_of_splits(inverses, corners)
    return inverse


def _corner(level: int) -> Array:
    """The lower left blocks of 2^level rows in the pairs on the diagonal."""
    row, column = rows_and_columns()
    same_pair = (row >> (level + 1)) == (column >> (level + 1))
    return same_pair & ((row >> level) > (column >> level))
