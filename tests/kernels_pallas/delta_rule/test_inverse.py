"""The inverse by blocks against numpy's, where powers of the matrix would overflow too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.delta_rule.inverse import unit_lower_inverse, unit_lower_solve


def correlated_lower(size: int, batch: int = 3) -> np.ndarray:
    """beta_i k_i . k_j for nearly parallel unit keys; the upper triangle is filled on purpose."""
    rng = np.random.default_rng(0)
    k = rng.standard_normal((batch, size, 16)) + 3 * rng.standard_normal((batch, 1, 16))
    k /= np.linalg.norm(k, axis=-1, keepdims=True)
    return 0.9 * k @ np.swapaxes(k, -1, -2)


@pytest.mark.parametrize("size", (1, 2, 8, 16, 64))
def test_inverse(size: int) -> None:
    lower = correlated_lower(size)
    wanted = np.linalg.inv(np.eye(size) + np.tril(lower, -1))
    found = jax.jit(unit_lower_inverse)(jnp.asarray(lower, jnp.float32))
    # The largest entry is 1; measured 4e-7 at 64 rows.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6)


def test_gradients_of_the_solve() -> None:
    lower, weight = correlated_lower(16), np.random.default_rng(1).standard_normal((3, 16, 4))
    right = np.random.default_rng(2).standard_normal((3, 16, 4))

    def by_numpy_inverse(lower: jax.Array, right: jax.Array) -> jax.Array:
        return jnp.sum(weight * (jnp.linalg.inv(jnp.eye(16) + jnp.tril(lower, -1)) @ right))

    def by_blocks(lower: jax.Array, right: jax.Array) -> jax.Array:
        return jnp.sum(weight * unit_lower_solve(lower, right))

    with jax.enable_x64(True):
        wanted = jax.grad(by_numpy_inverse, (0, 1))(lower, right)
        found = jax.jit(jax.grad(by_blocks, (0, 1)))(lower, right)
    for have, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(have, want, rtol=0, atol=1e-13 * np.abs(want).max())


@pytest.mark.parametrize("size", (0, 3, 12))
def test_size_must_be_a_power_of_two(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} rows.*power of two"):
        unit_lower_inverse(jnp.zeros((size, size)))
