"""Weights between tokens keep their digits next to closed gates, in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.decay import weighted_products

C, K = 16, 3
HIGHEST = jax.lax.Precision.HIGHEST


@pytest.mark.parametrize("width", (1, K))
def test_each_weight_to_its_own_digits(width: int) -> None:
    """One unit column at a time, so that a product is the weight of its key alone."""
    gates = np.random.default_rng(0).choice([0.0, -1e-6, -0.3, -40.0, -1e4], (2, C, width))
    gates = gates.astype(np.float32)
    for column in range(width):
        rows = jnp.zeros((2, C, K)).at[..., column].set(1)
        found = weighted_products(rows[None], rows, jnp.asarray(gates), None, HIGHEST)
        wanted, start, end = sums_of(gates[..., column].astype(np.float64))
        # Sums of up to 16 gates of one sign: 40 x 16 x 2^-24 at the exponents that matter.
        close(found.products[0], np.tril(np.exp(wanted)))
        close(found.since_start[..., column], np.exp(start))
        close(found.to_end[..., column], np.exp(end))
        close(found.keep[..., column, 0], np.exp(start[..., -1]))


def sums_of(gates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """sum_{j<l<=i} [.., i, j], sum_{l<=i}, sum_{l>j} of gates [.., c], each added up afresh."""
    between = np.array(
        [[gates[:, j + 1 : i + 1].sum(-1) for j in range(C)] for i in range(C)]
    ).transpose(2, 0, 1)
    start = np.stack([gates[:, : i + 1].sum(-1) for i in range(C)], axis=-1)
    return between, start, between[:, -1]


def close(found: jax.Array, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=4e-5, atol=1e-38)


@pytest.mark.parametrize("width", (None, 1, K))
def test_nothing_passes_a_reset(width: int | None) -> None:
    resets = jnp.zeros((2, C), bool).at[:, 5].set(True)
    rows = jnp.ones((2, C, K))
    gates = None if width is None else jnp.full((2, C, width), -0.1)
    found = weighted_products(rows[None], rows, gates, resets, HIGHEST)
    assert not found.products[..., 5:, :5].any() and not found.keep.any()
    assert not found.since_start[:, 5:].any() and not found.to_end[:, :5].any()
    assert found.since_start[:, :5].all() and found.to_end[:, 5:].all()
