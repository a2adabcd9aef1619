"""Kimi Delta Attention against its token recurrence (arXiv 2510.26692), its start, its size."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.mixers.kda import KDA
from jaxlin.mixers import build
from tests.conformance.mixers import FLOAT32
from tests.conformance.variants import all_cases
from tests.mixers import by_hand
from tests.mixers.by_hand import heads, l2, memory, projected, rms, sigmoid, silu, weights


def low_rank(w, name, x):
    up = w[f"{name}_up"]
    return x @ w[f"{name}_down"]["kernel"] @ up["kernel"] + up.get("bias", 0)


def oracle(c, params, x, segments):
    """y of the whole layer, token by token."""
    w = weights(params)
    q, k, v = (heads(silu(projected(c, w, x, name, segments)), c.heads) for name in "qkv")
    q, k = l2(q), l2(k)
    beta = sigmoid(x @ w["beta"]["kernel"]) * (2 if c.allow_neg_eigval else 1)
    dt = np.log1p(np.exp(heads(low_rank(w, "decay", x) + w["dt_bias"], c.heads)))
    decay = np.exp(-np.exp(w["A_log"])[:, None] * dt)
    o = memory(q, k, v, decay, segments, beta) / np.sqrt(c.head_dim)
    y = rms(o, w["norm"]["scale"])
    if c.output_gate:
        y = y * sigmoid(heads(low_rank(w, "gate", x), c.heads))
    return y.reshape(*x.shape[:2], -1) @ w["o"]["kernel"]


CASES = {name: case for name, case in all_cases().items() if case.kind == "kda"}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_token_recurrence(name):
    by_hand.check(CASES[name], oracle, FLOAT32)


@pytest.mark.parametrize("d,h", [(1024, 8), (2048, 16)])
def test_parameter_count(d, h):
    """Four d^2, decay and gate of rank 128, and the small ones."""
    low = 2 * (d * 128 + 128 * d)
    small = d * h + h + d + d + 3 * 4 * d + 128
    assert by_hand.count(KDA(heads=h), d) == 4 * d**2 + low + small
    bare = by_hand.count(KDA(heads=h, output_gate=False, conv=0), d)
    assert bare == 4 * d**2 + low // 2 + small - d - 3 * 4 * d


def test_start():
    """A in (1, 16) per head, dt in [1e-3, 1e-1] per channel, gates half open."""
    mixer = build(KDA(heads=64, head_dim=4), 16)
    params = nn.meta.unbox(mixer.init(jax.random.key(0), jnp.zeros((1, 2, 16))))["params"]
    a, dt = np.exp(params["A_log"]), np.asarray(jax.nn.softplus(params["dt_bias"]))
    assert a.shape == (64,) and 1 <= a.min() < 3 and 14 < a.max() <= 16
    assert dt.shape == (256,) and 0.999e-3 < dt.min() < 2e-3 and 0.05 < dt.max() < 0.1001
    assert not params["gate_up"]["bias"].any() and "bias" not in params["decay_up"]
    assert params["norm"]["scale"].shape == (4,)
