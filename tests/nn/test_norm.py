"""Norms against their formulas, at the edges too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.nn import RMSNorm, l2_norm, rms_norm

RNG = np.random.default_rng(0)


def test_rms_norm_formula():
    x, scale = RNG.normal(size=(3, 5)), RNG.normal(size=5)
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale
    np.testing.assert_allclose(
        rms_norm(jnp.float32(x), jnp.float32(scale), 1e-6), expected, rtol=1e-6
    )


def test_l2_norm_formula():
    x = RNG.normal(size=(3, 5))
    expected = x / np.sqrt((x**2).sum(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(l2_norm(jnp.float32(x)), expected, rtol=1e-6)


@pytest.mark.parametrize("norm", [l2_norm, lambda x: rms_norm(x, jnp.ones(x.shape[-1]), 1e-6)])
def test_zero_vectors_are_finite_in_value_and_gradient(norm):
    zero = jnp.zeros((2, 4))
    assert not norm(zero).any()
    assert jnp.isfinite(jax.grad(lambda x: norm(x).sum())(zero)).all()


@pytest.mark.parametrize("norm", [l2_norm, lambda x: rms_norm(x, jnp.ones(x.shape[-1]), 1e-6)])
def test_bfloat16_squares_are_summed_in_float32(norm):
    x = jnp.bfloat16(RNG.normal(size=(4, 1000)))
    wide = norm(x.astype(jnp.float32))
    assert norm(x).dtype == jnp.bfloat16
    np.testing.assert_array_equal(norm(x), wide.astype(jnp.bfloat16))


def test_module_starts_at_one():
    variables = RMSNorm(axis="embed").init(jax.random.key(0), jnp.zeros((1, 3)))
    scale = variables["params"]["scale"]
    assert scale.names == ("embed",) and scale.value.tolist() == [1, 1, 1]
