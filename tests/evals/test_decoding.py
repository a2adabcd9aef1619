import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.config.errors import ConfigError
from jaxlin.evals import decoding
from jaxlin.evals.decoding import advance, chunks, decode, empty_cache, padded_length, plan
from jaxlin.evals.sampling import knobs
from jaxlin.evals.settings import Sampling
from tests.evals.tiny import HYBRID, VOCAB, tiny

GREEDY = Sampling(temperature=0.0)
PROMPTS = [[256, 5, 9, 200, 3, 3, 7], [256, 65], [256, *range(40, 59)]]
PATTERNS = [pytest.param("softmax(heads=2,window=5)", marks=pytest.mark.slow), HYBRID]


def tokens(pattern, prompts, n=8, sampling=GREEDY, **settings):
    """[b, n] new tokens."""
    model, variables = tiny(pattern)
    steps = decode(model, variables, prompts, max_new=n, sampling=sampling, **settings)
    return np.stack(list(steps), axis=1)


def naive(pattern, prompts, n=8):
    """[b, n]: for each token all of the text through the model again, without a cache."""
    model, variables = tiny(pattern)
    ids = np.zeros((len(prompts), max(map(len, prompts)) + n), np.int32)
    lengths = np.array([len(prompt) for prompt in prompts])
    for i, prompt in enumerate(prompts):
        ids[i, : len(prompt)] = prompt
    apply = jax.jit(model.apply, static_argnames="method")
    for j in range(n):
        hidden, _ = apply(variables, ids)
        last = hidden[np.arange(len(ids)), lengths + j - 1]
        logits = apply(variables, last[:, None], method="logits")
        ids[np.arange(len(ids)), lengths + j] = logits[:, 0].argmax(-1)
    return [ids[i, k : k + n].tolist() for i, k in enumerate(lengths)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_cached_tokens_equal_those_of_the_whole_text(pattern):
    found = tokens(pattern, PROMPTS)
    expected = naive(pattern, PROMPTS)
    assert found.tolist() == expected
    assert len({tuple(row) for row in expected}) == len(PROMPTS)  # else nothing was compared


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_row_alone_gives_what_it_gives_in_a_batch(pattern):
    together = tokens(pattern, PROMPTS)
    for prompt, row in zip(PROMPTS, together, strict=True):
        assert tokens(pattern, [prompt])[0].tolist() == row.tolist()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_prompt_fed_at_once_or_token_by_token(pattern):
    model, variables = tiny(pattern)
    prompt, k = PROMPTS[2], knobs(GREEDY, VOCAB)
    cache, fed = empty_cache(model.config, 1, 64), list(prompt)
    for i in range(len(prompt) + 7):
        one = jnp.array([[fed[i]]])
        segment = jnp.ones((1, 1), jnp.int32)
        token, cache = advance(model, "greedy", variables, cache, one, segment, VOCAB, k, 0)
        if i >= len(prompt) - 1:
            fed.append(int(token[0]))
    assert fed[len(prompt) :] == tokens(pattern, [prompt])[0].tolist()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_chunks_of_a_long_prompt_give_what_one_piece_gives(pattern, monkeypatch):
    expected = tokens(pattern, PROMPTS)
    monkeypatch.setattr(decoding, "CHUNK", 4)
    assert tokens(pattern, PROMPTS).tolist() == expected.tolist()


def test_the_cache_may_be_just_large_enough_for_an_odd_length():
    longest = max(map(len, PROMPTS))
    expected = tokens(HYBRID, PROMPTS)
    assert tokens(HYBRID, PROMPTS, cache_length=longest + 8).tolist() == expected.tolist()


def test_a_cache_that_is_too_small_is_refused_before_anything_runs():
    with pytest.raises(ConfigError, match=r"cache_length: 27 .* 20 tokens and 8 new .* 28"):
        decode(*tiny(), PROMPTS, max_new=8, sampling=GREEDY, cache_length=27)


@pytest.mark.parametrize(
    ("prompts", "max_new", "message"),
    [
        ([], 1, "none given"),
        ([[256], []], 1, "prompt 1: has no tokens"),
        ([[256, 257]], 1, "prompt 0: token id 257 .* 257"),
        ([[-1]], 1, "prompt 0: token id -1"),
        ([[256]], 0, "tokens: 0"),
    ],
)
def test_bad_requests_are_refused(prompts, max_new, message):
    with pytest.raises(ConfigError, match=message):
        decode(*tiny(), prompts, max_new=max_new, sampling=GREEDY, limit=257)


def test_samples_follow_the_seed_and_not_the_neighbours():
    sampling = Sampling(temperature=1.5, seed=3)
    one = tokens("full", PROMPTS, sampling=sampling)
    other = tokens("full", [PROMPTS[0], [256], PROMPTS[2]], sampling=sampling)
    assert one[[0, 2]].tolist() == other[[0, 2]].tolist()
    assert one.tolist() != tokens("full", PROMPTS, sampling=Sampling(temperature=1.5)).tolist()


def test_settings_and_prompts_of_a_bucket_share_what_is_compiled():
    tokens("full", [[256, 1, 2]], sampling=Sampling(top_k=3))
    before = advance._cache_size()
    tokens("full", [[256, 1, 2, 3, 4]], sampling=Sampling(top_p=0.4, temperature=0.3, seed=9))
    assert advance._cache_size() == before


def test_the_cache_is_updated_in_place():
    model, variables = tiny(HYBRID)
    cache = empty_cache(model.config, 1, 16)
    ones, k = jnp.ones((1, 1), jnp.int32), knobs(GREEDY, VOCAB)
    _, after = advance(model, "greedy", variables, cache, ones, ones, VOCAB, k, 0)
    assert cache.position.is_deleted() and not after.position.is_deleted()


def test_a_linear_model_remembers_as_much_of_a_long_text_as_of_a_short_one():
    # The same shapes are the same compiled step: the same time and memory for each token.
    config = tiny("pure")[0].config
    short, long = (jax.eval_shape(lambda n=n: empty_cache(config, 2, n)) for n in (16, 65536))
    assert jax.tree.structure(short) == jax.tree.structure(long)
    assert jax.tree.leaves(short) == jax.tree.leaves(long)


@pytest.mark.parametrize(("n", "padded"), [(1, 16), (16, 16), (17, 32), (1024, 1024), (1025, 2048)])
def test_prompt_lengths_fall_into_few_buckets(n, padded):
    assert padded_length(n) == padded


def test_chunks_cover_everything_once():
    for t in (1, 16, 1024, 1500, 2048, 3000):
        parts = list(chunks(t))
        assert [i for part in parts for i in range(part.start, part.stop)] == list(range(t))
        assert max(part.stop - part.start for part in parts) <= decoding.CHUNK


def test_padding_is_on_the_left_with_segment_0():
    p = plan([[7, 8], [9, 9, 9]], 5, 10, None)
    assert p.tokens.shape == (2, 16) and p.cache_length == 32
    assert p.tokens[:, 12:].tolist() == [[0, 0, 7, 8], [0, 9, 9, 9]]
    assert p.segment_ids[:, 12:].tolist() == [[0, 0, 1, 1], [0, 1, 1, 1]]
