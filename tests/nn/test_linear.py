"""The site-aware Linear: the plain product, its adapters, its taps."""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.adapters.lowrank import LowRank
from jaxlin.nn import Embedding, Linear, SwiGLU, observed, tap

RNG = np.random.default_rng(0)
X = jnp.float32(RNG.normal(size=(2, 3, 4)))


def low_rank(inputs, outputs):
    factors = (jnp.float32(RNG.normal(size=s)) for s in ((inputs, 2), (2, outputs)))
    return LowRank(*factors, scale=0.5)


def plain(variables):
    return nn.meta.unbox(variables)


@pytest.mark.parametrize("bias", [False, True])
def test_product_and_names(bias):
    module = Linear(5, ("embed", "heads"), bias=bias)
    boxed = module.init(jax.random.key(0), X)["params"]
    assert boxed["kernel"].names == ("embed", "heads")
    params = plain(boxed)
    if bias:
        assert boxed["bias"].names == ("heads",) and not params["bias"].any()
        params["bias"] = jnp.arange(5.0)
    expected = np.float64(X) @ np.float64(params["kernel"]) + np.float64(params.get("bias", 0))
    np.testing.assert_allclose(module.apply({"params": params}, X), expected, atol=1e-6)


def test_bfloat16_compute_keeps_float32_parameters_and_gradients():
    module = Linear(5, ("embed", "heads"), dtype=jnp.bfloat16, bias=True)
    params = plain(module.init(jax.random.key(0), X))["params"]
    assert module.apply({"params": params}, X).dtype == jnp.bfloat16
    grads = jax.grad(lambda p: module.apply({"params": p}, X).astype(jnp.float32).sum())(params)
    assert {a.dtype for a in jax.tree.leaves([params, grads])} == {jnp.dtype(jnp.float32)}


def test_an_empty_adapter_collection_leaves_the_jaxpr_alone():
    module = Linear(5, ("embed", "heads"))
    params = plain(module.init(jax.random.key(0), X))["params"]
    jaxpr = lambda extra: str(  # noqa: E731
        jax.make_jaxpr(lambda p, x: module.apply({"params": p} | extra, x))(params, X)
    )
    assert jaxpr({}) == jaxpr({"adapters": {}})
    attached = {"adapters": {"kernel": {"a": low_rank(4, 5)}}}
    assert jaxpr({}) != jaxpr(attached)


def test_adapters_add_up_and_equal_the_merged_weight():
    module = Linear(5, ("embed", "heads"))
    params = plain(module.init(jax.random.key(0), X))["params"]
    two = {"first": low_rank(4, 5), "second": low_rank(4, 5)}
    y = module.apply({"params": params, "adapters": {"kernel": two}}, X)
    merged = {"kernel": params["kernel"] + two["first"].delta() + two["second"].delta()}
    np.testing.assert_allclose(y, module.apply({"params": merged}, X), atol=1e-5)


def test_embedding_takes_adapters_and_is_its_own_head():
    module = Embedding(7, 4)
    tokens = jnp.int32([[0, 6, 6]])
    params = plain(module.init(jax.random.key(0), tokens))["params"]
    delta = low_rank(7, 4)
    adapted = {"params": params, "adapters": {"embedding": {"a": delta}}}
    table = params["embedding"] + delta.delta()
    np.testing.assert_allclose(module.apply(adapted, tokens), table[tokens], atol=1e-6)
    logits = module.apply(adapted, X, method=lambda m, x: m.product()(x))
    np.testing.assert_allclose(logits, X @ table.T, atol=1e-5)


def test_gradients_of_repeated_tokens_add_up_in_float32():
    module = Embedding(2, 1, dtype=jnp.bfloat16)
    tokens = jnp.zeros((1, 1000), jnp.int32)
    params = plain(module.init(jax.random.key(0), tokens))["params"]
    total = lambda p: module.apply({"params": p}, tokens).astype(jnp.float32).sum()  # noqa: E731
    # bfloat16 counts to 256 only.
    assert jax.grad(total)(params)["embedding"].tolist() == [[1000.0], [0.0]]


def test_head_sums_in_float32():
    kernel = {"kernel": jnp.ones((2, 1), jnp.float32)}
    head = Linear(1, ("embed", "vocab"), dtype=jnp.bfloat16)
    hidden = jnp.bfloat16([[1.0, 2.0**-12]])
    call = lambda m, x: m.product(2, jnp.float32)(x)  # noqa: E731
    assert head.apply({"params": kernel}, hidden, method=call)[0, 0] == 1 + 2.0**-12


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Shift:
    """A function at an activation site."""

    by: jax.Array

    def __call__(self, h):
        return h + self.by


class Tapped(nn.Module):
    @nn.compact
    def __call__(self, x):
        return 2 * tap(self, "site", x)


def test_tap_shows_and_changes():
    assert Tapped().init(jax.random.key(0), X) == {}  # initialising observes nothing
    y, seen = Tapped().apply({}, X, mutable=["taps"])
    np.testing.assert_array_equal(observed(seen)["site"], X)
    np.testing.assert_array_equal(y, 2 * X)
    adapters = {"site": {"shift": Shift(jnp.float32(1.0))}}
    y, seen = Tapped().apply({"adapters": adapters}, X, mutable=["taps"])
    np.testing.assert_array_equal(observed(seen)["site"], X + 1)
    np.testing.assert_array_equal(y, 2 * (X + 1))


def test_swiglu_formula():
    module = SwiGLU(6)
    params = plain(module.init(jax.random.key(0), X))["params"]
    w = {name: np.float64(params[name]["kernel"]) for name in ("gate", "up", "down")}
    gate = np.float64(X) @ w["gate"]
    expected = (gate / (1 + np.exp(-gate)) * (np.float64(X) @ w["up"])) @ w["down"]
    np.testing.assert_allclose(module.apply({"params": params}, X), expected, atol=1e-7)
    assert {k: v.shape for k, v in w.items()} == {"gate": (4, 6), "up": (4, 6), "down": (6, 4)}
