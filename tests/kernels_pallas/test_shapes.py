"""Dtypes of states, and where documents begin."""

import jax
import jax.numpy as jnp
import numpy as np

from kernels_pallas.shapes import accumulation_dtype, resets_of


def test_accumulation_dtype() -> None:
    short = jnp.zeros(1, jnp.bfloat16)
    assert accumulation_dtype(short, short) == jnp.float32
    with jax.enable_x64(True):
        assert accumulation_dtype(short, jnp.zeros(1, np.float64)) == jnp.float64


def test_resets_are_changes_and_never_the_first_token() -> None:
    ids = jnp.asarray([[7, 7, 1, 1, 7], [0, 1, 2, 2, 2]])
    wanted = [[False, False, True, False, True], [False, True, True, False, False]]
    np.testing.assert_array_equal(resets_of(ids), wanted)
    assert resets_of(None) is None
