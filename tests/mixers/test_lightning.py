"""Lightning attention against its token recurrence (arXiv 2401.04658), its slopes, its size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.mixers.lightning import Lightning
from jaxlin.mixers import rows
from jaxlin.mixers.lightning import alibi, init_theta, log_decays, lrpe
from tests.conformance.mixers import FLOAT32
from tests.conformance.variants import all_cases
from tests.mixers import by_hand
from tests.mixers.by_hand import heads, memory, positions, projected, rms, silu, weights


def slopes(c):
    """-log of the decay of the second of three layers, as the three sources have it."""
    h = np.arange(c.heads)
    return {
        "alibi": 2.0 ** (-8 * (h + 1) / c.heads) * (1 - 1 / 2 + 1e-5),
        "tnl": 8 * (h + 1) / c.heads * (1 - 2 / 3),
        "fla": 8 / c.heads * (1 - 1 / 3) * h,
        "none": 0.0 * h,
    }[c.decay]


def oracle(c, params, x, segments):
    """y of the whole layer, token by token; its positions as sums of cosines of distances."""
    w = weights(params)
    q, k, v = (heads(projected(c, w, x, name, segments), c.heads) for name in "qkv")
    q, k = silu(q), silu(k)
    decay = np.exp(-slopes(c))
    if c.lrpe:
        o = by_distance(q, k, v, decay, w["theta"].reshape(c.heads, -1), segments)
    else:
        o = memory(q, k, v, np.broadcast_to(decay[:, None], k.shape), segments)
    y = rms(o.reshape(x.shape), 1)
    if c.output_gate:
        y = y * (x @ w["gate"]["kernel"])
    return y @ w["o"]["kernel"]


def by_distance(q, k, v, decay, theta, segments):
    """sum_j decay^(t-j) sum_c q_c k_c cos(theta_c (t-j)) v_j over the document so far."""
    o, at = np.zeros_like(v), positions(segments)
    for b, t, h in np.ndindex(q.shape[:3]):
        j = np.arange(t - at[b, t], t + 1)
        turned = np.cos(np.outer(t - j, theta[h])) * k[b, j, h]
        o[b, t, h] = (decay[h] ** (t - j) * (turned @ q[b, t, h])) @ v[b, j, h]
    return o


CASES = {name: case for name, case in all_cases().items() if case.kind == "lightning"}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_token_recurrence(name):
    by_hand.check(CASES[name], oracle, FLOAT32)


def test_slopes_as_published():
    np.testing.assert_allclose(alibi(8), 0.5 ** np.arange(1, 9), atol=5e-7)
    more = [0.707107, 0.353553, 0.176777, 0.088388]
    np.testing.assert_allclose(alibi(12), [*alibi(8), *more], atol=5e-7)
    table = np.asarray(log_decays("alibi", 24, 8))
    np.testing.assert_allclose(table[-1], -1e-5 * np.array(alibi(8)), rtol=0.02)
    np.testing.assert_allclose(table[0], -(1 + 1e-5) * np.array(alibi(8)), rtol=1e-6)
    assert not np.asarray(log_decays("tnl", 24, 8))[-1].any()  # the last layer keeps everything
    assert not np.asarray(log_decays("fla", 24, 8))[:, 0].any()  # and so does the first head
    for kind in ("alibi", "tnl", "fla"):
        found = log_decays(kind, 5, 6)
        assert found.shape == (5, 6) and (found <= 0).all() and found.dtype == jnp.float32


def test_no_decay_asks_for_no_rows():
    def parameter(*asked):
        raise AssertionError(asked)  # slopes are no parameters

    assert rows(Lightning(decay="none"), 16, 3, parameter) is None
    assert rows(Lightning(), 16, 3, parameter).shape == (3, 8)


@pytest.mark.parametrize("d", [1024, 2048])
def test_parameter_count(d):
    """5 d^2: the norm has no scale, the decay is no parameter."""
    assert by_hand.count(Lightning(), d) == 5 * d**2
    assert by_hand.count(Lightning(lrpe=True, conv=4), d) == 5 * d**2 + d + 12 * d
    assert by_hand.count(Lightning(output_gate=False), d) == 4 * d**2


def test_angles_start_as_published():
    theta = init_theta(jax.random.key(0), (64,))
    np.testing.assert_allclose(theta, 10000.0 ** (-2 * np.arange(64) / 64), rtol=1e-5)
    x = jnp.ones((1, 3, 1, 2))
    found = lrpe(x, jnp.array([[0.0, jnp.pi / 2]]), jnp.arange(3)[None])
    expected = [[1, 1, 0, 0], [1, 0, 0, 1], [1, -1, 0, 0]]
    np.testing.assert_allclose(found[0, :, 0], expected, atol=1e-6)
