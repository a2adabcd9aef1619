"""Rotary positions: the rotation itself and what it is for."""

import jax.numpy as jnp
import numpy as np

from jaxlin.nn import rotate

RNG = np.random.default_rng(0)


def test_equals_complex_rotation():
    x, positions = RNG.normal(size=(2, 5, 3, 8)), RNG.integers(0, 300, size=(2, 5))
    z = x[..., :4] + 1j * x[..., 4:]
    angle = positions[:, :, None, None] * 10000.0 ** (-np.arange(4) / 4)
    z = z * np.exp(1j * angle)
    expected = np.concatenate([z.real, z.imag], -1)
    # float32 angles up to 300 are known to 300 * 2^-24 ~ 2e-5.
    np.testing.assert_allclose(
        rotate(jnp.float32(x), jnp.int32(positions), 10000.0), expected, atol=1e-4
    )


def test_products_depend_on_distance_only():
    q, k = (jnp.float32(RNG.normal(size=(1, 1, 1, 8))) for _ in "qk")

    def product(i, j):
        at = lambda x, p: rotate(x, jnp.int32([[p]]), 100.0)  # noqa: E731
        return float(jnp.sum(at(q, i) * at(k, j)))

    # Angles up to 90 in float32: 90 * 2^-24, times |q||k| ~ 8.
    assert abs(product(7, 3) - product(90, 86)) < 1e-4
    assert abs(product(7, 3) - product(7, 4)) > 1e-2


def test_position_zero_changes_nothing_and_dtype_is_kept():
    x = jnp.bfloat16(RNG.normal(size=(1, 2, 1, 4)))
    y = rotate(x, jnp.zeros((1, 2), jnp.int32), 10000.0)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, x)
