"""The inverse inside a kernel, on keys that break the series forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl

from kernels_pallas.tpu.inverse import unit_lower_inverse
from kernels_pallas.tpu.products import Products


def lower(c: int, shift: float) -> np.ndarray:
    """beta k_i . k_j below the diagonal, keys = random + shift times one vector, beta = 0.9."""
    rng = np.random.default_rng(c)
    keys = rng.standard_normal((2, c, 32)) + shift * rng.standard_normal((2, 1, 32))
    keys /= np.linalg.norm(keys, axis=-1, keepdims=True)
    return np.tril(0.9 * keys @ keys.swapaxes(1, 2), -1)


def inverted(x: np.ndarray, short: bool) -> np.ndarray:
    def kernel(x, out) -> None:
        out[...] = unit_lower_inverse(x[...], Products(short))

    shape = jax.ShapeDtypeStruct(x.shape, jnp.float32)
    call = pl.pallas_call(kernel, out_shape=shape, interpret=True)
    return np.asarray(call(jnp.asarray(x, jnp.float32)), np.float64)


# Largest errors measured: 3e-7 and 2e-5.
@pytest.mark.parametrize(("short", "bound"), ((False, 1e-6), (True, 1e-4)))
@pytest.mark.parametrize("shift", (0.0, 3.0))
@pytest.mark.parametrize("c", (16, 64, 128))
def test_equals_the_inverse(c: int, shift: float, short: bool, bound: float) -> None:
    x = lower(c, shift)
    wanted = np.linalg.inv(np.eye(c) + x)
    assert np.abs(inverted(x, short) - wanted).max() / np.abs(wanted).max() < bound


def test_the_keys_break_the_series() -> None:
    """(I - L)(I + L^2)(I + L^4)... in float32: its powers grow and cancel."""
    x = lower(64, 3.0).astype(np.float32)
    found, power = np.eye(64, dtype=np.float32) - x, x
    for _ in range(5):
        power = power @ power
        found = found + found @ power
    wanted = np.linalg.inv(np.eye(64) + x.astype(np.float64))
    assert not np.abs(found - wanted).max() / np.abs(wanted).max() < 1e3
