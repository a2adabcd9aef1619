"""Choosing the next token from logits."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from jaxlin.evals.settings import Sampling

Whole = int | Int[Array, ""]


class Knobs(NamedTuple):
    """The numbers of a Sampling as arrays, so that changing them compiles nothing."""

    key: PRNGKeyArray
    temperature: Float[Array, ""]
    top_k: Int[Array, ""]
    top_p: Float[Array, ""]


def knobs(sampling: Sampling, vocab: int) -> Knobs:
    """Limits that are not set let everything pass."""
    top_p = 1.0 if sampling.top_p is None else sampling.top_p
    return Knobs(
        key=jax.random.key(sampling.seed),
        temperature=jnp.float32(sampling.temperature),
        top_k=jnp.int32(min(sampling.top_k or vocab, vocab)),
        # Rounding can lift a running sum to 1 before the last token; 2 lets all pass for sure.
        top_p=jnp.float32(top_p if top_p < 1 else 2.0),
    )


def kept(
    scores: Float[Array, "b vocab"], top_k: Int[Array, ""], top_p: Float[Array, ""]
) -> Bool[Array, "b vocab"]:
    """The top_k highest scores (ties: the lower id first), of these the shortest head of the
    ranking whose softmax, renormalised over the top_k, sums to at least top_p; never none."""
    order = jnp.argsort(-scores, axis=-1, stable=True)
    ranked = jnp.take_along_axis(scores, order, axis=-1)
    head = jnp.arange(scores.shape[-1]) < top_k
    p = jax.nn.softmax(jnp.where(head, ranked, -jnp.inf), axis=-1)
    before = jnp.cumsum(p, axis=-1) - p
    keep = (head & (before < top_p)).at[:, 0].set(True)
    return jnp.put_along_axis(jnp.zeros_like(keep), order, keep, axis=-1, inplace=False)


def sample(
    logits: Float[Array, "b vocab"],
    limit: Whole,
    mode: str,
    knobs: Knobs,
    index: Whole,
) -> Int[Array, " b"]:
    """The token at place `index` of each row's continuation; ids from `limit` on never come.

    The randomness is fold_in(fold_in(key, row), index): a row does not see its neighbours.
    """
    real = jnp.arange(logits.shape[-1]) < limit
    scores = jnp.where(real, logits.astype(jnp.float32), -jnp.inf)
    if mode == "greedy":
        return jnp.argmax(scores, axis=-1).astype(jnp.int32)
    scores = scores / knobs.temperature
    if mode == "cut":
        scores = jnp.where(kept(scores, knobs.top_k, knobs.top_p), scores, -jnp.inf)
    draw = jax.vmap(lambda row, s: jax.random.categorical(_key(knobs.key, row, index), s))
    return draw(jnp.arange(scores.shape[0]), scores).astype(jnp.int32)


def _key(key: PRNGKeyArray, row: Whole, index: Whole) -> PRNGKeyArray:
    return jax.random.fold_in(jax.random.fold_in(key, row), index)
