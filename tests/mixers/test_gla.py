"""Gated linear attention against its token recurrence (arXiv 2312.06635), its start, its size."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.mixers.gla import GLA
from jaxlin.mixers import build
from jaxlin.mixers.gla import log_decay
from tests.conformance.mixers import FLOAT32
from tests.conformance.variants import all_cases
from tests.mixers import by_hand
from tests.mixers.by_hand import heads, rms, sigmoid, silu, starts, weights

MAPS = {
    "identity": lambda x: x,
    "silu": silu,
    "relu": lambda x: np.maximum(x, 0),
    "elu1": lambda x: np.where(x > 0, x, np.expm1(x)) + 1,
}


def oracle(c, params, x, segments):
    """y of the whole layer, token by token."""
    w, kv = weights(params), c.kv_heads or c.heads
    shared = c.heads // kv
    q, k, v = (x @ w[name]["kernel"] for name in "qkv")
    if c.conv:
        q, k, v = (
            silu(by_hand.convolution(a, w[f"{name}_conv"]["kernel"], segments))
            for name, a in zip("qkv", (q, k, v), strict=True)
        )
    q, k, v = heads(q, c.heads), heads(k, kv, shared), heads(v, kv, shared)
    q, k = MAPS[c.feature_map](q), MAPS[c.feature_map](k)
    decay = np.exp(gates(c, w, x, k.shape))
    o, first = np.zeros_like(v), starts(segments)
    for b in range(x.shape[0]):
        for h in range(c.heads):
            for t in range(x.shape[1]):
                if first[b, t]:
                    state = np.zeros((k.shape[-1], v.shape[-1]))
                state = decay[b, t, h][:, None] * state + np.outer(k[b, t, h], v[b, t, h])
                o[b, t, h] = state.T @ q[b, t, h] / np.sqrt(k.shape[-1])
    o = rms(o, w["norm"]["scale"])
    if c.output_gate:
        o = o * silu(heads(x @ w["gate"]["kernel"], c.heads))
    return o.reshape(*x.shape[:2], -1) @ w["o"]["kernel"]


def gates(c, w, x, shape):
    """Log decays of the keys, in every form of the paper's ablation."""
    if c.gate == "none":
        return np.zeros(shape)
    if c.gate == "constant":
        gamma = 1 - 2.0 ** (-5 - np.arange(c.heads))
        return np.broadcast_to(np.log(gamma)[:, None], shape)
    up = x @ w["decay_down"]["kernel"] @ w["decay_up"]["kernel"] + w["decay_up"]["bias"]
    kv = c.kv_heads or c.heads
    g = np.log(sigmoid(heads(up, kv, c.heads // kv))) / c.gate_tau
    return np.broadcast_to(np.maximum(g, c.gate_min or -np.inf), shape)


CASES = {name: case for name, case in all_cases().items() if case.kind == "gla"}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_token_recurrence(name):
    by_hand.check(CASES[name], oracle, FLOAT32)


def count(config, width):
    mixer = build(config, width)
    x = jax.ShapeDtypeStruct((1, 2, width), jnp.float32)
    shapes = jax.eval_shape(mixer.init, jax.random.key(0), x)
    return sum(int(np.prod(a.shape)) for a in jax.tree.leaves(shapes))


@pytest.mark.parametrize("d,h,expected", [(1024, 4, 4_219_648), (2048, 4, None), (512, 8, None)])
def test_parameter_count(d, h, expected):
    formula = 4 * d**2 + 16 * d + 16 * (d // 2) + d // 2 + d // h
    assert count(GLA(heads=h), d) == formula
    assert expected in (formula, None)


def test_options_count_what_they_add():
    d, base = 64, count(GLA(), 64)
    assert base - count(GLA(output_gate=False), d) == d * d
    assert base - count(GLA(gate="none"), d) == 16 * d + 16 * 32 + 32
    assert base - count(GLA(gate="scalar"), d) == 16 * 32 + 32 - (16 * 4 + 4)
    assert base - count(GLA(kv_heads=2), d) == (d * 32 + d * d + 16 * 32 + 32) // 2
    assert count(GLA(conv=4), d) - base == 4 * (32 + 32 + 64)


def test_start():
    """Every decay starts near 0.5^(1/16) = 0.9576; weights are N(0, 0.02)."""
    d = 256
    mixer = build(GLA(), d)
    params = nn.meta.unbox(mixer.init(jax.random.key(0), jnp.zeros((1, 2, d))))["params"]
    for site in ("q", "k", "v", "gate", "o", "decay_down", "decay_up"):
        kernel = params[site]["kernel"]
        spread = float(kernel.std()) / 0.02
        assert abs(spread - 1) < 4 / np.sqrt(2 * kernel.size), site
        assert abs(float(kernel.mean())) < 4 * 0.02 / np.sqrt(kernel.size), site
    assert not params["decay_up"]["bias"].any()
    assert (params["norm"]["scale"] == 1).all() and params["norm"]["scale"].shape == (64,)
    x = np.random.default_rng(0).normal(size=(100, d))
    up = x @ np.float64(params["decay_down"]["kernel"]) @ np.float64(params["decay_up"]["kernel"])
    decay = np.exp(log_decay(jnp.float32(up), 16.0, None))
    np.testing.assert_allclose(decay, 0.9576, atol=0.01)
    assert abs(np.exp(log_decay(jnp.zeros(()), 16.0, None)) - 0.5 ** (1 / 16)) < 1e-7


def test_log_decay_at_the_edges():
    gate = jnp.array([-1e4, -100.0, 0.0, 100.0, 1e4])
    found = log_decay(gate, 16.0, None)
    np.testing.assert_allclose(found, [-625, -6.25, -np.log(2) / 16, 0, 0], rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(log_decay(gate, 16.0, -1.0)[:2], [-1, -1])
    assert log_decay(gate.astype(jnp.bfloat16), 1.0, None).dtype == jnp.float32
    assert jnp.isfinite(jax.grad(lambda g: log_decay(g, 1.0, None).sum())(gate)).all()
