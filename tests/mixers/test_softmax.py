"""Softmax attention against its sums, and the ring that a window turns its cache into."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.mixers.softmax import Softmax
from jaxlin.mixers import build, init_cache
from tests.mixers import by_hand
from tests.mixers.by_hand import SEGMENTS, WIDTH, B, T, heads, rms, starts, weights

# Outputs of size 1 to 4: sums of 9 tokens and 8 channels in float32.
TOLERANCE = 1e-5


def turned(x, positions, base):
    half = x.shape[-1] // 2
    z = x[..., :half] + 1j * x[..., half:]
    z = z * np.exp(1j * positions[:, :, None, None] * base ** (-np.arange(half) / half))
    return np.concatenate([z.real, z.imag], axis=-1)


def oracle(c, params, x, segments):
    """y of the whole layer, one query after the other."""
    w, kv = weights(params), c.kv_heads or c.heads
    project = lambda n: x @ w[n]["kernel"] + w[n].get("bias", 0)  # noqa: E731
    q, k, v = (heads(project(n), c.heads if n == "q" else kv) for n in "qkv")
    if c.qk_norm:
        q, k = rms(q, w["q_norm"]["scale"]), rms(k, w["k_norm"]["scale"])
    if c.rope_base is not None:
        time = np.arange(x.shape[1])
        positions = time - np.maximum.accumulate(np.where(starts(segments), time, 0), axis=1)
        q, k = turned(q, positions, c.rope_base), turned(k, positions, c.rope_base)
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


CASES = {
    "full": Softmax(heads=2),
    "grouped": Softmax(heads=4, kv_heads=2),
    "one key head": Softmax(heads=4, kv_heads=1, head_dim=6),
    "window": Softmax(heads=2, window=3),
    "window of one": Softmax(heads=2, window=1),
    "normed": Softmax(heads=2, qk_norm=True, qkv_bias=True, rope_base=100.0),
    "no positions": Softmax(heads=2, rope_base=None),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("packed", [False, True])
def test_equals_the_sums(name, packed):
    mixer, params, x = by_hand.ready(CASES[name])
    segments = SEGMENTS if packed else np.ones_like(SEGMENTS)
    apply = jax.jit(lambda p, x: mixer.apply({"params": p}, x, segment_ids=jnp.int32(segments))[0])
    expected = oracle(CASES[name], params, x, segments)
    np.testing.assert_allclose(apply(params, jnp.float32(x)), expected, atol=TOLERANCE)


@pytest.mark.parametrize("lengths", [(1,) * 9, (2,) * 4 + (1,), (4, 5), (7, 1, 1), (1, 8), (9,)])
@pytest.mark.parametrize("window", [1, 3, 4])
def test_a_ring_of_the_window_is_enough(window, lengths):
    """Cut anywhere, also into pieces longer than the ring, which holds `window` slots."""
    config = Softmax(heads=2, window=window)
    mixer, params, x = by_hand.ready(config)
    cache, x, found = init_cache(config, WIDTH, B, 10_000, jnp.float32), jnp.float32(x), []
    assert cache.k.shape[1] == window
    segments = jnp.int32(SEGMENTS)
    for start, n in zip(np.cumsum((0, *lengths)), lengths, strict=False):
        part = slice(start, start + n)
        y, cache = RUN(mixer, params, x[:, part], segments[:, part], cache)
        found.append(y)
    expected = oracle(config, params, x, SEGMENTS)
    np.testing.assert_allclose(jnp.concatenate(found, axis=1), expected, atol=TOLERANCE)
    assert cache.seen.tolist() == [T] * B
    assert cache.position.tolist() == [4, 7]
    newest = {index % window: index for index in range(T - window, T)}
    assert cache.index.tolist() == [[newest[slot] for slot in range(window)]] * B


RUN = jax.jit(
    lambda mixer, params, x, ids, cache: mixer.apply(
        {"params": params}, x, segment_ids=ids, cache=cache
    ),
    static_argnums=0,
)


def test_steps_without_ids_continue_the_last_document():
    """Rotations of new keys must agree with those in the cache, which count from its document."""
    for window in (None, 3):
        config = Softmax(heads=2, window=window)
        mixer, params, x = by_hand.ready(config)
        x, ids = jnp.float32(x), jnp.int32(SEGMENTS)
        cache = init_cache(config, WIDTH, B, T, jnp.float32)
        first, cache = RUN(mixer, params, x[:, :6], ids[:, :6], cache)
        found = [first]
        for t in range(6, T):
            y, cache = RUN(mixer, params, x[:, t : t + 1], None, cache)
            found.append(y)
        expected = oracle(config, params, x, SEGMENTS)
        np.testing.assert_allclose(jnp.concatenate(found, 1), expected, atol=TOLERANCE)


def test_more_tokens_than_slots_are_refused():
    config = Softmax(heads=2)
    mixer, params, x = by_hand.ready(config)
    cache = init_cache(config, WIDTH, B, 4, jnp.float32)
    with pytest.raises(ValueError, match="9 tokens do not fit a cache of 4 slots"):
        mixer.apply({"params": params}, jnp.float32(x), cache=cache)


@pytest.mark.parametrize("d,h", [(1024, 16), (2048, 32)])
def test_parameter_count(d, h):
    def count(config):
        x = jax.ShapeDtypeStruct((1, 2, d), jnp.float32)
        shapes = jax.eval_shape(build(config, d).init, jax.random.key(0), x)
        return sum(int(np.prod(a.shape)) for a in jax.tree.leaves(shapes))

    assert count(Softmax(heads=h)) == 4 * d**2
    assert count(Softmax(heads=h, kv_heads=h // 4)) == 2.5 * d**2
    assert count(Softmax(heads=h, qk_norm=True, qkv_bias=True)) == 4 * d**2 + 3 * d + 2 * d // h
