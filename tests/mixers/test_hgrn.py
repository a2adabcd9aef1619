"""HGRN against its token recurrence (arXiv 2311.04823), its bounds, its start."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.mixers.hgrn import HGRN
from jaxlin.mixers import build, rows
from jaxlin.mixers.hgrn import bounds, forget
from tests.conformance.mixers import FLOAT32
from tests.conformance.variants import all_cases
from tests.mixers import by_hand
from tests.mixers.by_hand import projected, rms, sigmoid, silu, starts, weights


def oracle(c, params, x, segments):
    """y of the whole layer, token by token; the second of three layers."""
    w = weights(params)
    i, z = (projected(c, w, x, name, segments) for name in "if")
    bound = 0 if c.lower_bound == "none" else 1 / 3
    f = bound + (1 - bound) * sigmoid(z)
    i = silu(i) * (1 - f)
    h, first = np.zeros_like(f), starts(segments)
    for b, t in np.ndindex(x.shape[:2]):
        h[b, t] = i[b, t] + (0 if first[b, t] else f[b, t] * h[b, t - 1])
    y = rms(h, w["norm"]["scale"])
    if c.output_gate:
        y = y * silu(x @ w["gate"]["kernel"])
    return y @ w["o"]["kernel"]


CASES = {name: case for name, case in all_cases().items() if case.kind == "hgrn"}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_token_recurrence(name):
    by_hand.check(CASES[name], oracle, FLOAT32)


@pytest.mark.parametrize("d", [1024, 2048])
def test_parameter_count(d):
    assert by_hand.count(HGRN(), d) == 4 * d**2 + d
    assert by_hand.count(HGRN(output_gate=False, conv=4), d) == 3 * d**2 + d + 8 * d
    assert by_hand.count(HGRN(expand_ratio=2.0), d) == 8 * d**2 + 2 * d


def learned(gamma):
    return bounds("learned", *gamma.shape, lambda name, init, axes, shape: jnp.asarray(gamma))


def test_bounds_start_as_a_line_through_the_depth():
    made = {}

    def parameter(name, init, axes, shape):
        made[name] = axes, init(jax.random.key(0), (24, *shape))
        return made[name][1]

    found = rows(HGRN(), 8, 24, parameter)
    ((axes, gamma),) = made.values()
    assert axes == ("heads",) and gamma.shape == (24, 8) and not gamma.any()
    line = np.arange(24)[:, None] / 24
    np.testing.assert_allclose(found, np.broadcast_to(line, (24, 8)), atol=1e-7)
    assert (found[0] == 0).all()
    fixed = rows(HGRN(lower_bound="fixed"), 8, 24, parameter)
    np.testing.assert_allclose(fixed, found, atol=1e-7)
    assert rows(HGRN(lower_bound="none"), 8, 24, parameter) is None and len(made) == 1


def test_bounds_are_the_published_sum():
    """lb_i = cumsum(P)_i - P_0, rising and below 1."""
    gamma = np.random.default_rng(0).normal(size=(7, 5))
    p = np.exp(gamma) / np.exp(gamma).sum(0)
    found = learned(np.float32(gamma))
    np.testing.assert_allclose(found, np.cumsum(p, 0) - p[0], atol=1e-6)
    assert (np.diff(found, axis=0) > 0).all() and found.max() < 1
    # However far Gamma goes, no bound passes 1 and every gradient is finite.
    far = jnp.float32(40 * gamma)
    assert learned(far).max() <= 1

    def total(gamma):
        log_f, rest = jax.vmap(forget, in_axes=(None, 0))(jnp.linspace(-9, 9, 5), learned(gamma))
        return jnp.sum(log_f + 2 * rest)

    assert jnp.isfinite(jax.grad(total)(far)).all()


@pytest.mark.parametrize("bound", [0.0, 1e-6, 1 / 3, 0.999999, 1.0])
def test_forget_gate_at_the_edges(bound):
    z = np.array([-1e4, -80.0, -3.0, 0.0, 3.0, 80.0, 1e4])
    log_f, rest = forget(jnp.float32(z), jnp.full(7, bound, jnp.float32))
    b = float(np.float32(bound))
    f = b + (1 - b) / (1 + np.exp(np.minimum(-z, 700)))
    kept = np.log(np.maximum(f, 1e-300)) if bound else -np.logaddexp(0, -z)
    np.testing.assert_allclose(log_f, kept, rtol=1e-5, atol=2e-7)
    np.testing.assert_allclose(rest, (1 - b) * np.exp(-np.logaddexp(0, z)), rtol=1e-5, atol=1e-30)
    assert log_f.max() <= 0 and log_f.dtype == rest.dtype == jnp.float32
    grad = jax.grad(lambda z, b: sum(a.sum() for a in forget(z, b)), (0, 1))
    assert all(jnp.isfinite(g).all() for g in grad(jnp.float32(z), jnp.full(7, b, jnp.float32)))


def test_bounds_hold_and_the_first_layer_has_none():
    z = jnp.float32(np.random.default_rng(1).normal(size=(50, 4)) * 5)
    assert jnp.array_equal(forget(z, jnp.zeros(4))[0], jax.nn.log_sigmoid(z))
    for bound in (0.1, 0.9):
        log_f, rest = forget(z, jnp.full(4, bound))
        assert (jnp.exp(log_f) >= bound * (1 - 1e-6)).all()
        assert (rest > 0).all() and (rest <= (1 - bound) * (1 + 1e-6)).all()


def test_a_closed_gate_keeps_nothing():
    """f = 0: the output depends on the current token alone; one layer has no bound."""
    config, d = HGRN(), 4
    mixer = build(config, d)
    params = nn.meta.unbox(mixer.init(jax.random.key(0), jnp.zeros((1, 2, d))))["params"]
    params["f"]["kernel"] = jnp.zeros((d, d)).at[0].set(-1e3)
    x = np.random.default_rng(0).normal(size=(1, 5, d))
    x[..., 0] = 1
    apply = jax.jit(lambda x: mixer.apply({"params": params}, jnp.float32(x))[0])
    np.testing.assert_array_equal(apply(x)[:, 3:], apply(x[:, 3:]))
