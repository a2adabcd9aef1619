"""The cache of the whole model: prompts of different lengths, cut anywhere, then steps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.models.lm import Cache, init_cache
from tests.models.tiny import EACH, KINDS, B, T, config, ready

# Hidden states are of size 1 after the final norm; 13 tokens, 6 layers of float32 roundings.
TOLERANCE = 2e-5


def steps(model, cache, tokens):
    """One token at a time, by a scan."""

    def step(cache, token):
        hidden, cache = model.module.apply(model.variables, token[:, None], cache=cache)
        return cache, hidden[:, 0]

    cache, hidden = jax.lax.scan(step, cache, tokens.T)
    return hidden.swapaxes(0, 1), cache


@pytest.mark.parametrize("kind", EACH)
def test_left_padded_prompts_then_steps(kind):
    """Row 0 has 8 tokens of prompt, row 1 has 3 after 5 of padding; then 5 steps."""
    model = ready(config(**KINDS[kind]))
    lengths, prompt = (8, 3), 8
    full = model.hidden(model.variables, model.tokens)
    rows = [jnp.roll(model.tokens[i], prompt - n)[:prompt] for i, n in enumerate(lengths)]
    segments = jnp.int32([[int(t >= prompt - n) for t in range(prompt)] for n in lengths])
    hidden, cache = model.apply(
        model.variables, jnp.stack(rows), segments, cache=init_cache(model.config, B, T)
    )
    assert cache.position.tolist() == list(lengths) and cache.segment.tolist() == [1, 1]
    after = jnp.stack([model.tokens[i, n : n + 5] for i, n in enumerate(lengths)])
    decoded, cache = jax.jit(partial(steps, model))(cache, after)
    for i, n in enumerate(lengths):
        np.testing.assert_allclose(hidden[i, prompt - n :], full[i, :n], atol=TOLERANCE)
        np.testing.assert_allclose(decoded[i], full[i, n : n + 5], atol=TOLERANCE)
    assert cache.position.tolist() == [n + 5 for n in lengths]


@pytest.mark.parametrize("kind", EACH)
def test_packed_documents_equal_separate_ones(kind):
    model = ready(config(**KINDS[kind]))
    segments = jnp.int32([[1] * 6 + [2] * 7] * B)
    packed = model.hidden(model.variables, model.tokens, segment_ids=segments)
    first = model.hidden(model.variables, model.tokens[:, :6])
    second = model.hidden(model.variables, model.tokens[:, 6:])
    np.testing.assert_allclose(packed, jnp.concatenate([first, second], 1), atol=TOLERANCE)
    unpacked = model.hidden(model.variables, model.tokens)
    assert np.abs(unpacked[:, 6:] - second).max() > 100 * TOLERANCE  # the control


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_cache_keeps_its_shapes_and_dtypes(kind, dtype):
    model = ready(config(**(KINDS[kind] | {"dtype": dtype})))
    empty = jax.eval_shape(lambda: init_cache(model.config, B, T))
    for t in (1, 5, T):
        tokens = jax.ShapeDtypeStruct((B, t), jnp.int32)
        _, after = jax.eval_shape(
            lambda v, x, c: model.module.apply(v, x, cache=c), model.variables, tokens, empty
        )
        assert isinstance(after, Cache) and after == empty


def test_only_attention_remembers_more_with_length():
    def size(kind, length):
        cache = jax.eval_shape(lambda: init_cache(config(**KINDS[kind]), 1, length))
        return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(cache))

    assert size("gla", 100) == size("gla", 100_000)
    assert size("gated_deltanet", 100) == size("gated_deltanet", 100_000)
    assert size("softmax", 100_000) > 900 * size("softmax", 100)
