"""Decay between the tokens of a chunk: its weights, in a kernel, and the sums that pull them back.

weights_ij = exp(sum_{j<l<=i} g_l) for i >= j. Each sum runs over the stretch that is wanted, as a
product of a triangle of ones with the gates after j; a difference of two cumulative sums would
lose small gates beside large ones. The gates go in as two bfloat16 pieces: the 2^-17 that is lost
of a sum changes weights that are not nearly zero by less than their rounding.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array

from kernels_pallas.gpu.tiles import (
    TILE,
    load_rows,
    product,
    rows_and_columns,
    store,
    store_split,
    tile,
    transposed,
)


def scratch() -> dict[str, Any]:
    """Shared memory for `weights` and `pull_weights`."""
    return dict(ones=tile(TILE, TILE), pieces=tile(2, TILE, TILE))


def weights(log_decay: Any, *, ones: Any, pieces: Any) -> Array:
    """A tile of weights in registers from the gates [64] in shared memory; zero where i < j."""
    row, column = rows_and_columns()
    store(ones, causal())
    store_split(pieces, jnp.where(row > column, load_rows(log_decay), 0.0))
    plgpu.commit_smem()
    sums = _products(ones, pieces)
    return jnp.where(row >= column, jnp.exp(sums), 0.0)


def pull_weights(d_sums: Array, *, ones: Any, pieces: Any) -> Array:
    """The gates' cotangent [64]: sum_{j<l<=i} d_sums_ij."""
    row, column = rows_and_columns()
    store(ones, causal())
    store_split(pieces, d_sums)
    plgpu.commit_smem()
    sums = _products(transposed(ones), pieces)
    return jnp.sum(jnp.where(row > column, sums, 0.0), axis=1)


def _products(left: Any, pieces: Any) -> Array:
    return product((left, pieces.at[0]), (left, pieces.at[1]))


def causal() -> Array:
    row, column = rows_and_columns()
    return jnp.where(row >= column, 1.0, 0.0)
