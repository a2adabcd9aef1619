"""DeltaNet against its token recurrence (arXiv 2406.06484), its size, its ties to its kin."""

import numpy as np
import pytest

from jaxlin.config.mixers.deltanet import DeltaNet
from jaxlin.config.mixers.gated_deltanet import GatedDeltaNet
from jaxlin.mixers import build
from tests.conformance.mixers import FLOAT32, PACKED, WIDTH, inputs, params, whole
from tests.conformance.variants import all_cases, tiny
from tests.mixers import by_hand
from tests.mixers.by_hand import heads, l2, memory, projected, rms, sigmoid, silu, weights

MAPS = {"silu": silu, "elu1": lambda x: np.where(x > 0, x, np.expm1(x)) + 1}


def oracle(c, params, x, segments):
    """y of the whole layer, token by token."""
    w = weights(params)
    q, k, v = (heads(projected(c, w, x, name, segments), c.heads) for name in "qkv")
    normed = l2 if c.qk_norm == "l2" else lambda a: a / a.sum(-1, keepdims=True)
    q, k = (normed(MAPS[c.feature_map](a)) for a in (q, k))
    beta = sigmoid(x @ w["beta"]["kernel"]) if c.beta else np.ones(q.shape[:3])
    beta = beta * (2 if c.allow_neg_eigval else 1)
    o = memory(q, k, silu(v), np.ones_like(k), segments, beta) / np.sqrt(q.shape[-1])
    y = rms(o, w["norm"]["scale"])
    if c.output_gate:
        y = y * silu(heads(x @ w["gate"]["kernel"], c.heads))
    return y.reshape(*x.shape[:2], -1) @ w["o"]["kernel"]


CASES = {name: case for name, case in all_cases().items() if case.kind == "deltanet"}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_token_recurrence(name):
    by_hand.check(CASES[name], oracle, FLOAT32)


@pytest.mark.parametrize("d,h", [(1024, 8), (2048, 16)])
def test_parameter_count(d, h):
    """4 d^2, write strengths, convolutions of width 4 and a norm of 128."""
    assert by_hand.count(DeltaNet(heads=h), d) == 4 * d**2 + d * h + 3 * 4 * d + 128
    bare = DeltaNet(heads=h, beta=False, conv=0, output_gate=True)
    assert by_hand.count(bare, d) == 5 * d**2 + 128


def test_it_is_gated_deltanet_without_decay_and_gate():
    mine = tiny("deltanet")
    size = WIDTH // mine.heads
    theirs = GatedDeltaNet(heads=mine.heads, head_dim=size, expand_v=1.0, decay="none", gate=False)
    shared = params(mine)
    y = build(theirs, WIDTH).apply(shared, inputs(), segment_ids=PACKED)[0]
    np.testing.assert_allclose(whole(mine)(shared, inputs(), PACKED), y, atol=1e-5)


def test_a_sum_that_may_be_zero_is_refused():
    (found,) = DeltaNet(qk_norm="sum").problems(16)
    assert found.startswith("qk_norm: sum divides by the sum of silu features")
    assert not DeltaNet(qk_norm="sum", feature_map="elu1").problems(16)
    assert DeltaNet(heads=3).problems(16)[0].startswith("heads: 3 does not divide width * expand_k")
