"""Rematerialisation changes memory and nothing else."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.tiny import KINDS, attention_only, config, ready

POLICIES = ["none", "full", "dots", "mixer"]


def loss(model):
    def value(params, tokens):
        hidden = model.module.apply({"params": params}, tokens)[0]
        return jnp.sum(hidden**2 * jnp.cos(jnp.arange(hidden.size).reshape(hidden.shape)))

    return value


@cache
def value_and_gradients(kind, remat):
    plain, model = (ready(config(**(KINDS[kind] | {"remat": r}))) for r in ("none", remat))
    return jax.jit(jax.value_and_grad(loss(model)))(plain.variables["params"], plain.tokens)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gla", pytest.param("hybrid", marks=pytest.mark.long)])
@pytest.mark.parametrize("remat", ["full", "dots", "mixer"])
def test_values_and_gradients_are_equal(kind, remat):
    # The same operations, possibly fused otherwise: a few float32 roundings.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max()),
        value_and_gradients(kind, remat),
        value_and_gradients(kind, "none"),
    )


def residual_bytes(changes):
    """What the backward pass keeps of the forward pass, besides parameters and tokens."""
    model = ready(config(**changes))
    tokens = jnp.zeros((4, 64), jnp.int32)
    _, backward = jax.eval_shape(
        lambda p: jax.vjp(loss(model), p, tokens), model.variables["params"]
    )
    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(backward))


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[] if k == "gla" else [pytest.mark.slow]) for k in KINDS]
)
def test_less_is_kept(kind):
    kept = {name: residual_bytes(KINDS[kind] | {"remat": name}) for name in POLICIES}
    assert kept["full"] < kept["mixer"] < kept["dots"] < kept["none"]
    assert kept["full"] < 0.5 * kept["none"]


def test_a_long_unit_is_kept_block_by_block():
    """Layers that never repeat: without remat by block all of them would be live at once."""
    pattern = tuple(f"softmax(heads=2, window={w})" for w in (2, 3, 4))
    model = {
        remat: ready(attention_only(pattern=pattern, layers=3, remat=remat))
        for remat in ("none", "full")
    }
    tokens = jnp.zeros((2, 128), jnp.int32)
    temporary = {
        remat: jax.jit(jax.grad(loss(m)))
        .lower(m.variables["params"], tokens)
        .compile()
        .memory_analysis()
        .temp_size_in_bytes
        for remat, m in model.items()
    }
    assert temporary["full"] < 0.6 * temporary["none"]
