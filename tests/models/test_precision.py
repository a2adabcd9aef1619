"""bfloat16 computation over float32 parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.tiny import EACH, KINDS, config, ready


@pytest.mark.slow
@pytest.mark.parametrize("kind", EACH)
def test_parameters_and_gradients_stay_float32(kind):
    model = ready(config(**(KINDS[kind] | {"dtype": "bfloat16"})))

    def loss(variables):
        hidden = model.module.apply(variables, model.tokens)[0]
        nll, _ = model.module.apply(variables, hidden, model.tokens, 8, method="cross_entropy")
        return nll.mean(), hidden

    (value, hidden), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(model.variables)
    assert hidden.dtype == jnp.bfloat16 and value.dtype == jnp.float32
    dtypes = {a.dtype for a in jax.tree.leaves([model.variables, grads])}
    assert dtypes == {jnp.dtype(jnp.float32)}
    assert all(np.isfinite(a).all() and a.any() for a in jax.tree.leaves(grads))


@pytest.mark.parametrize("kind", EACH)
def test_bfloat16_stays_near_float32(kind):
    """Within what roundings of parameters alone would do, at as many places as a model rounds."""
    wide, narrow = (
        ready(config(**(KINDS[kind] | {"dtype": dtype}))) for dtype in ("float32", "bfloat16")
    )
    reference = wide.hidden(wide.variables, wide.tokens)
    rng = np.random.default_rng(0)
    moved = jax.tree.map(
        lambda a: a * jnp.float32(1 + 2.0**-9 * rng.uniform(-1, 1, a.shape)), wide.variables
    )
    unit = rms(wide.hidden(moved, wide.tokens) - reference)
    error = rms(narrow.hidden(wide.variables, wide.tokens).astype(jnp.float32) - reference)
    # About 12 roundings a layer, which add up like independent errors, and the output's own.
    layers = wide.config.layers
    assert 0 < error < (12 * layers) ** 0.5 * unit + 2.0**-9


def rms(x):
    return float(jnp.sqrt(jnp.mean(x**2)))
