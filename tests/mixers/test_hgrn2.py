"""HGRN-2 against its token recurrence (arXiv 2404.07904), its ties to GLA and HGRN, its size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.mixers.hgrn import HGRN
from jaxlin.config.mixers.hgrn2 import HGRN2
from jaxlin.mixers import rows
from tests.conformance.mixers import FLOAT32, ONE, WIDTH, close, inputs, module, params
from tests.conformance.variants import all_cases
from tests.mixers import by_hand
from tests.mixers.by_hand import heads, memory, projected, rms, sigmoid, silu, weights


def oracle(c, params, x, segments):
    """y of the whole layer, token by token; the second of three layers."""
    w = weights(params)
    q, z, v = (heads(projected(c, w, x, name, segments), c.heads) for name in "qfi")
    bound = 0 if c.lower_bound == "none" else 1 / 3
    f = bound + (1 - bound) * sigmoid(z)
    o = memory(silu(q), 1 - f, v, f, segments) / np.sqrt(q.shape[-1])
    y = rms(o.reshape(x.shape), w["norm"]["scale"])
    if c.output_gate:
        y = y * silu(x @ w["gate"]["kernel"])
    return y @ w["o"]["kernel"]


CASES = {name: case for name, case in all_cases().items() if case.kind == "hgrn2"}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_token_recurrence(name):
    by_hand.check(CASES[name], oracle, FLOAT32)


@pytest.mark.parametrize("d,h", [(1024, 8), (2048, 16)])
def test_parameter_count(d, h):
    assert by_hand.count(HGRN2(heads=h), d) == 4 * d**2 + d
    assert by_hand.count(HGRN2(heads=h, output_gate=True, conv=4), d) == 5 * d**2 + d + 12 * d


def test_heads_of_one_channel_are_the_recurrence_of_hgrn():
    """h = f h + (1 - f) v, o = q h (arXiv 2404.07904, section 3.1)."""
    config = HGRN2(heads=WIDTH, lower_bound="none")
    w, x = weights(params(config))["params"], np.float64(inputs())
    q, f, v = silu(x @ w["q"]["kernel"]), sigmoid(x @ w["f"]["kernel"]), x @ w["i"]["kernel"]
    h = np.zeros_like(v)
    for t in range(x.shape[1]):
        h[:, t] = f[:, t] * (h[:, t - 1] if t else 0) + (1 - f[:, t]) * v[:, t]
    expected = rms(q * h, w["norm"]["scale"]) @ w["o"]["kernel"]
    found = module(config).apply(params(config), inputs(), segment_ids=ONE)[0]
    close(found, expected)


def test_it_shares_the_parameter_of_hgrn():
    asked = []

    def parameter(name, init, axes, shape):
        asked.append((name, axes, shape))
        return init(jax.random.key(0), (6, *shape))

    one, other = (rows(config, 8, 6, parameter) for config in (HGRN(), HGRN2(heads=2)))
    assert asked[0] == asked[1] and jnp.array_equal(one, other)
