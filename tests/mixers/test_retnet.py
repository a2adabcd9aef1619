"""RetNet against its token recurrence (arXiv 2307.08621), its decays, its size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.mixers.gla import GLA
from jaxlin.config.mixers.retnet import RetNet
from jaxlin.mixers import build
from jaxlin.mixers.retnet import log_decay, multiscale
from tests.conformance.mixers import FLOAT32, ONE, close, inputs, params, whole
from tests.conformance.variants import all_cases, tiny
from tests.mixers import by_hand
from tests.mixers.by_hand import heads, memory, positions, projected, rms, silu, turned, weights

# Head h of 8 (Sun et al. 2023, section 2.2, as the specification prints them).
GAMMA = (0.96875, 0.984375, 0.992188, 0.996094, 0.998047, 0.999023, 0.999512, 0.999756)


def gammas(c):
    single = np.full(c.heads, 1 - 2**-6.5)
    return {"multiscale": 1 - 2.0 ** (-5 - np.arange(c.heads)), "single": single}.get(
        c.decay, np.ones(c.heads)
    )


def oracle(c, params, x, segments):
    """y of the whole layer, token by token."""
    w = weights(params)
    q, k, v = (projected(c, w, x, name, segments) for name in "qkv")
    q, k, v = (heads(silu(a) if c.conv else a, c.heads) for a in (q, k, v))
    if c.rope_base is not None:
        q, k = (turned(a, positions(segments), c.rope_base) for a in (q, k))
    decay = np.broadcast_to(gammas(c)[:, None], q.shape)
    o = memory(q, k, v, decay, segments) / np.sqrt(q.shape[-1])
    y = rms(o, w["norm"]["scale"])
    if c.output_gate:
        y = y * silu(heads(x @ w["gate"]["kernel"], c.heads))
    return y.reshape(*x.shape[:2], -1) @ w["o"]["kernel"]


CASES = {name: case for name, case in all_cases().items() if case.kind == "retnet"}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_token_recurrence(name):
    by_hand.check(CASES[name], oracle, FLOAT32)


def test_decays():
    np.testing.assert_allclose(np.exp(multiscale(8)), GAMMA, atol=5e-7)
    np.testing.assert_allclose(np.exp(log_decay("single", 3)), 1 - 2**-6.5, rtol=1e-7)
    assert log_decay("none", 3) is None
    assert multiscale(8).dtype == jnp.float32


@pytest.mark.parametrize("d", [1024, 2048])
def test_parameter_count(d):
    """8 d^2 and one norm of a head's values: the decays are no parameters."""
    assert by_hand.count(RetNet(heads=8), d) == 8 * d**2 + 2 * d // 8
    assert by_hand.count(RetNet(output_gate=False, conv=4), d) == 6 * d**2 + d // 4 + 16 * d


def test_without_rotation_it_is_gla_with_a_constant_gate():
    mine = tiny("retnet", rope_base=None, expand_v=1.0)
    theirs = GLA(heads=mine.heads, expand_k=1.0, gate="constant")
    shared = params(mine)
    close(whole(theirs)(shared, inputs(), ONE), whole(mine)(shared, inputs(), ONE), 1e-6)


def test_only_distances_matter():
    """A document is the same wherever its positions start."""
    config = tiny("retnet")
    apply = jax.jit(lambda p: build(config, 16).apply(params(config), inputs(), positions=p)[0])
    at = jnp.broadcast_to(jnp.arange(inputs().shape[1]), inputs().shape[:2])
    close(apply(at + 1000), apply(at), 1e-3)  # sines of 1000 in float32
    assert float(jnp.abs(apply(2 * at) - apply(at)).max()) > 0.1  # the control
