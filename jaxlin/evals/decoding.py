"""Batched prefill and stepwise decoding: prompts of token ids -> one token a row at a time.

Prompts are padded on the left with segment id 0 to a power of two, long ones to a multiple of
`CHUNK` that is fed chunk by chunk, so few shapes are ever compiled and the memory of a prefill
does not grow with the prompt (the caches of attention layers aside).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Int32

from jaxlin.config.errors import ConfigError
from jaxlin.evals.sampling import Knobs, Whole, knobs, sample
from jaxlin.evals.settings import Sampling
from jaxlin.models.lm import Cache, LanguageModel, init_cache

CHUNK = 1024  # tokens of a prefill that are fed at once
SHORTEST = 16  # shorter prompts share one compiled prefill


class Plan(NamedTuple):
    """Shapes of a generation."""

    tokens: Int32[np.ndarray, "b t"]  # prompts, padded on the left
    segment_ids: Int32[np.ndarray, "b t"]  # 0 padding, 1 prompt
    cache_length: int


@partial(jax.jit, static_argnames=("model", "mode"), donate_argnames=("cache",))
def advance(
    model: LanguageModel,
    mode: str,
    variables: Any,
    cache: Cache,
    tokens: Int[Array, "b t"],
    segment_ids: Int[Array, "b t"],
    limit: Whole,
    knobs: Knobs,
    index: Whole,
) -> tuple[Int[Array, " b"], Cache]:
    """Reads t tokens a row and chooses the next one. The cache passed in is used up."""
    hidden, after = cast(Any, model.apply(variables, tokens, segment_ids, cache=cache))
    logits = cast(Array, model.apply(variables, hidden[:, -1:], method="logits"))
    return sample(logits[:, 0], limit, mode, knobs, index), after


def vocabulary(model: LanguageModel) -> int:
    """Token ids that the model knows."""
    return cast(int, model.config.vocab)  # a model without one cannot be set up


@partial(jax.jit, static_argnums=(0, 1, 2))
def empty_cache(config: Any, batch: int, length: int) -> Cache:
    """`init_cache` with a buffer for each leaf, as donation needs."""
    return init_cache(config, batch, length)


def decode(
    model: LanguageModel,
    variables: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new: int,
    sampling: Sampling,
    limit: int | None = None,
    cache_length: int | None = None,
) -> Iterator[Int32[np.ndarray, " b"]]:
    """Yields max_new times the next token of every row; the consumer may stop at any time.

    limit: ids from here on are never chosen (None: the model's vocabulary). cache_length: tokens a
    row that the cache holds (None: enough, rounded up to a power of two). Raises ConfigError before
    anything is compiled.
    """
    limit = vocabulary(model) if limit is None else limit
    p = plan(prompts, max_new, limit, cache_length)
    return _decode(model, variables, p, max_new, sampling, limit)


def _decode(
    model: LanguageModel, variables: Any, p: Plan, max_new: int, sampling: Sampling, limit: int
) -> Iterator[Int32[np.ndarray, " b"]]:
    rows = len(p.tokens)
    settings = (limit, knobs(sampling, vocabulary(model)))
    run = partial(advance, model, sampling.mode, variables)
    cache, token = empty_cache(model.config, rows, p.cache_length), jnp.zeros(rows, jnp.int32)
    for part in chunks(p.tokens.shape[1]):
        token, cache = run(cache, p.tokens[:, part], p.segment_ids[:, part], *settings, 0)
    ones = jnp.ones((rows, 1), jnp.int32)
    for index in range(1, max_new):
        # The next step is under way while the consumer works on this token.
        following, cache = run(cache, token[:, None], ones, *settings, index)
        yield np.asarray(token)
        token = following
    yield np.asarray(token)


def plan(
    prompts: Sequence[Sequence[int]], max_new: int, limit: int, cache_length: int | None
) -> Plan:
    """Padding and cache length. Raises ConfigError when a prompt or the cache cannot do."""
    if max_new < 1:
        raise ConfigError(f"tokens: {max_new} new tokens cannot be generated; give at least 1")
    _check_prompts(prompts, limit)
    longest = max(map(len, prompts))
    padded = padded_length(longest)
    if cache_length is None:
        cache_length = _power_of_two(padded + max_new)
    room = cache_length - max_new
    if longest > room:
        raise ConfigError(
            f"cache_length: {cache_length} is too small for a prompt of {longest} tokens and "
            f"{max_new} new ones; give at least {longest + max_new}, or ask for fewer tokens"
        )
    padded = min(padded, room)
    tokens, segment_ids = (np.zeros((len(prompts), padded), np.int32) for _ in range(2))
    for i, prompt in enumerate(prompts):
        tokens[i, padded - len(prompt) :] = prompt
        segment_ids[i, padded - len(prompt) :] = 1
    return Plan(tokens, segment_ids, cache_length)


def _check_prompts(prompts: Sequence[Sequence[int]], limit: int) -> None:
    if not prompts:
        raise ConfigError("prompt: none given; give at least one")
    for i, prompt in enumerate(prompts):
        if not len(prompt):
            raise ConfigError(
                f"prompt {i}: has no tokens; start it with the tokenizer's separator token"
            )
        wrong = [token for token in prompt if not 0 <= token < limit]
        if wrong:
            raise ConfigError(
                f"prompt {i}: token id {wrong[0]} is outside the vocabulary of {limit}; "
                "encode the prompt with the run's tokenizer"
            )


def padded_length(longest: int) -> int:
    """A power of two, or a multiple of CHUNK beyond it."""
    if longest > CHUNK:
        return -(-longest // CHUNK) * CHUNK
    return max(SHORTEST, _power_of_two(longest))


def chunks(t: int) -> Iterator[slice]:
    """Slices of at most CHUNK tokens; only the first is shorter."""
    start = t % CHUNK
    if start:
        yield slice(0, start)
    for begin in range(start, t, CHUNK):
        yield slice(begin, begin + CHUNK)


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
