"""Softmax attention against its sums, and the ring that a window turns its cache into."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.mixers.softmax import Softmax
from jaxlin.mixers import build, init_cache
from tests.conformance.mixers import FLOAT32, WIDTH, B, close, inputs, module, params
from tests.conformance.variants import all_cases
from tests.mixers import by_hand
from tests.mixers.by_hand import heads, positions, rms, turned, weights

# Three documents a row; the second row starts with padding.
SEGMENTS = np.array([[1] * 4 + [2] + [3] * 4, [0] * 2 + [1] * 7])
T = SEGMENTS.shape[1]


def oracle(c, params, x, segments):
    """y of the whole layer, one query after the other."""
    w, kv = weights(params), c.kv_heads or c.heads
    project = lambda n: x @ w[n]["kernel"] + w[n].get("bias", 0)  # noqa: E731
    q, k, v = (heads(project(n), c.heads if n == "q" else kv) for n in "qkv")
    if c.qk_norm:
        q, k = rms(q, w["q_norm"]["scale"]), rms(k, w["k_norm"]["scale"])
    if c.rope_base is not None:
        q, k = (turned(a, positions(segments), c.rope_base) for a in (q, k))
    k, v = (np.repeat(a, c.heads // kv, axis=2) for a in (k, v))
    o = np.zeros_like(q)
    for b, t, h in np.ndindex(*q.shape[:3]):
        seen = [
            s
            for s in range(t + 1)
            if segments[b, s] == segments[b, t] and (c.window is None or t - s < c.window)
        ]
        scores = np.array([q[b, t, h] @ k[b, s, h] for s in seen]) / np.sqrt(q.shape[-1])
        o[b, t, h] = by_hand.softmax(scores) @ np.stack([v[b, s, h] for s in seen])
    return o.reshape(*x.shape[:2], -1) @ w["o"]["kernel"]


CASES = {name: case for name, case in all_cases().items() if case.kind == "softmax"}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_sums(name):
    by_hand.check(CASES[name], oracle, FLOAT32)


@pytest.mark.parametrize("lengths", [(1,) * 9, (2,) * 4 + (1,), (4, 5), (1, 8), (9,)])
@pytest.mark.parametrize("window", [1, 3])
def test_a_ring_of_the_window_is_enough(window, lengths):
    """Cut anywhere, also into pieces longer than the ring, which holds `window` slots."""
    config = Softmax(heads=2, window=window)
    cache, x, found = init_cache(config, WIDTH, B, 10_000, jnp.float32), inputs()[:, :T], []
    assert cache.k.shape[1] == window
    segments = jnp.int32(SEGMENTS)
    for start, n in zip(np.cumsum((0, *lengths)), lengths, strict=False):
        part = slice(start, start + n)
        y, cache = RUN(config, params(config), x[:, part], segments[:, part], cache)
        found.append(y)
    expected = oracle(config, params(config)["params"], np.float64(x), SEGMENTS)
    close(jnp.concatenate(found, axis=1), expected)
    assert cache.seen.tolist() == [T] * B
    assert cache.position.tolist() == [4, 7]
    newest = {index % window: index for index in range(T - window, T)}
    assert cache.index.tolist() == [[newest[slot] for slot in range(window)]] * B


RUN = jax.jit(
    lambda config, params, x, ids, cache: module(config).apply(
        params, x, segment_ids=ids, cache=cache
    ),
    static_argnums=0,
)


def test_steps_without_ids_continue_the_last_document():
    """Rotations of new keys must agree with those in the cache, which count from its document."""
    for window in (None, 3):
        config = Softmax(heads=2, window=window)
        x, ids = inputs()[:, :T], jnp.int32(SEGMENTS)
        cache = init_cache(config, WIDTH, B, T, jnp.float32)
        first, cache = RUN(config, params(config), x[:, :6], ids[:, :6], cache)
        found = [first]
        for t in range(6, T):
            y, cache = RUN(config, params(config), x[:, t : t + 1], None, cache)
            found.append(y)
        expected = oracle(config, params(config)["params"], np.float64(x), SEGMENTS)
        close(jnp.concatenate(found, axis=1), expected)


def test_more_tokens_than_slots_are_refused():
    config = Softmax(heads=2)
    cache = init_cache(config, WIDTH, B, 4, jnp.float32)
    with pytest.raises(ValueError, match="9 tokens do not fit a cache of 4 slots"):
        module(config).apply(params(config), inputs()[:, :9], cache=cache)


@pytest.mark.parametrize("d,h", [(1024, 16), (2048, 32)])
def test_parameter_count(d, h):
    def count(config):
        x = jax.ShapeDtypeStruct((1, 2, d), jnp.float32)
        shapes = jax.eval_shape(build(config, d).init, jax.random.key(0), x)
        return sum(int(np.prod(a.shape)) for a in jax.tree.leaves(shapes))

    assert count(Softmax(heads=h)) == 4 * d**2
    assert count(Softmax(heads=h, kv_heads=h // 4)) == 2.5 * d**2
    assert count(Softmax(heads=h, qk_norm=True, qkv_bias=True)) == 4 * d**2 + 3 * d + 2 * d // h
