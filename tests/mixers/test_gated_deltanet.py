"""Gated DeltaNet against its token recurrence (arXiv 2412.06464), its start, its size."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.mixers import build
from jaxlin.mixers.gated_deltanet import init_a_log, init_dt_bias, log_decay
from tests.conformance.mixers import FLOAT32, WIDTH, close, module, params
from tests.conformance.variants import all_cases
from tests.mixers import by_hand
from tests.mixers.by_hand import heads, l2, rms, sigmoid, silu, softmax, starts, weights


def oracle(c, params, x, segments):
    """y of the whole layer, token by token."""
    w, value_heads = weights(params), c.value_heads or c.heads
    shared = value_heads // c.heads
    flat = {name: x @ w[name]["kernel"] for name in "qkv"}
    if c.conv:
        for name in flat:
            flat[name] = by_hand.convolution(flat[name], w[f"{name}_conv"]["kernel"], segments)
    normed = l2 if c.qk_norm == "l2" else softmax
    q, k = (normed(heads(silu(flat[name]), c.heads, shared)) for name in "qk")
    v = heads(silu(flat["v"]), value_heads)
    beta = sigmoid(x @ w["beta"]["kernel"]) * (2 if c.allow_neg_eigval else 1)
    decay = np.ones_like(beta)
    if c.decay == "mamba":
        dt = np.log1p(np.exp(x @ w["decay"]["kernel"] + w["dt_bias"]))
        decay = np.exp(-np.exp(w["A_log"]) * dt)
    o, first = np.zeros_like(v), starts(segments)
    for b in range(x.shape[0]):
        for h in range(value_heads):
            for t in range(x.shape[1]):
                if first[b, t]:
                    state = np.zeros((c.head_dim, v.shape[-1]))
                state = decay[b, t, h] * state
                u = beta[b, t, h] * (v[b, t, h] - state.T @ k[b, t, h])
                state = state + np.outer(k[b, t, h], u)
                o[b, t, h] = state.T @ q[b, t, h] / np.sqrt(c.head_dim)
    o = rms(o, w["norm"]["scale"])
    if c.gate:
        o = o * silu(heads(x @ w["gate"]["kernel"], value_heads))
    return o.reshape(*x.shape[:2], -1) @ w["o"]["kernel"]


CASES = {name: case for name, case in all_cases().items() if case.kind == "gated_deltanet"}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_token_recurrence(name):
    by_hand.check(CASES[name], oracle, FLOAT32)


def shapes_of(config, width):
    x = jax.ShapeDtypeStruct((1, 2, width), jnp.float32)
    return jax.eval_shape(build(config, width).init, jax.random.key(0), x)


def count(config, width):
    return sum(int(np.prod(a.shape)) for a in jax.tree.leaves(shapes_of(config, width)))


@pytest.mark.parametrize("d,h,k", [(1024, 6, 128), (2048, 6, 256)])
def test_parameter_count(d, h, k):
    """6 d^2 of large weights at h * k = 0.75 d, and the small ones."""
    keys, values = h * k, 2 * h * k
    small = 2 * d * h + 2 * h + 4 * (2 * keys + values) + 2 * k
    assert count(GatedDeltaNet(heads=h, head_dim=k), d) == 6 * d**2 + small
    ungated = GatedDeltaNet(heads=4, head_dim=d // 4, gate=False)
    assert count(ungated, d) == 6 * d**2 + 2 * d * 4 + 8 + 4 * 4 * d + d // 2


def test_decay_starts_in_its_ranges():
    keys = jax.random.split(jax.random.key(0))
    a = np.exp(init_a_log(keys[0], (20_000,)))
    assert 0 < a.min() < 0.1 and 15.9 < a.max() < 16
    # The mean of a uniform variable on (0, 16), known to 4 standard errors.
    assert abs(a.mean() - 8) < 4 * 16 / np.sqrt(12 * a.size)
    dt = np.float64(jax.nn.softplus(init_dt_bias(keys[1], (20_000,))))
    assert 1e-3 * (1 - 1e-4) <= dt.min() and dt.max() <= 1e-1 * (1 + 1e-4)
    log = np.log10(dt)
    assert abs(log.mean() + 2) < 4 * 2 / np.sqrt(12 * dt.size)
    assert dt.min() < 1.1e-3 and dt.max() > 0.09


def test_module_starts_in_the_same_ranges():
    mixer = build(GatedDeltaNet(heads=64, head_dim=2), 16)
    params = nn.meta.unbox(mixer.init(jax.random.key(0), jnp.zeros((1, 2, 16))))["params"]
    a, dt = np.exp(params["A_log"]), np.asarray(jax.nn.softplus(params["dt_bias"]))
    assert a.shape == dt.shape == (64,)
    assert 0 < a.min() and 10 < a.max() < 16
    assert 0.999e-3 < dt.min() < 5e-3 and 0.03 < dt.max() < 0.1001
    spread = float(params["q_conv"]["kernel"].std())
    assert abs(spread / 0.02 - 1) < 4 / np.sqrt(2 * 4 * 128)


def test_log_decay_at_the_edges():
    x = jnp.array([[[-1e4, -30.0, 0.0, 20.0, 1e4]]])
    a_log, dt_bias = jnp.full(5, jnp.log(16.0)), jnp.zeros(5)
    expected = -16 * np.array([0, np.exp(-30), np.log(2), 20, 1e4])
    np.testing.assert_allclose(log_decay(x, a_log, dt_bias)[0, 0], expected, rtol=1e-5)
    grad = jax.grad(lambda x: log_decay(x, a_log, dt_bias).sum())(x)
    assert jnp.isfinite(grad).all()
    assert log_decay(x.astype(jnp.bfloat16), a_log, dt_bias).dtype == jnp.float32


def test_gates_of_one_token_erase_and_write():
    """beta = 0 writes nothing; equal keys overwrite: the newest value alone is read back."""
    config = GatedDeltaNet(heads=1, head_dim=2, expand_v=1.0, conv=0, gate=False, decay="none")
    w = jax.tree.map(jnp.copy, params(config))["params"]
    drives_beta = jnp.zeros_like(w["beta"]["kernel"]).at[0, 0].set(60.0)
    w["beta"]["kernel"] = drives_beta
    # Long keys, beside which the epsilon of their norm is nothing.
    w["q"]["kernel"] = w["k"]["kernel"] = 10 * w["k"]["kernel"].at[0].set(0)
    w["v"]["kernel"] = w["v"]["kernel"].at[0].set(0)
    apply = jax.jit(lambda x: module(config).apply({"params": w}, jnp.float32(x))[0])
    x = np.random.default_rng(1).normal(size=(1, 4, WIDTH))
    x[..., 0] = 1  # beta = sigmoid(60)
    closed = x.copy()
    closed[:, 2, 0] = -1
    # A closed gate at token 2 leaves token 3 as if token 2 were not there.
    close(apply(closed)[:, 3], apply(np.delete(x, 2, axis=1))[:, 2])
    # What token 2 wrote at the key of token 3 is overwritten by token 3.
    other = closed.copy()
    other[:, 2:] = x[:, 3:]
    close(apply(other)[:, 3], apply(closed)[:, 3])
