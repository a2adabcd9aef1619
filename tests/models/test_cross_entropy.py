"""The chunked loss: the plain one in value and gradient, without the plain one's memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlin.models.cross_entropy import chunked_cross_entropy
from tests.models.jaxprs import largest
from tests.models.tiny import attention_only, ready

B, T, D, VOCAB = 3, 11, 4, 29
RNG = np.random.default_rng(0)
HIDDEN = jnp.float32(RNG.normal(size=(B, T, D)))
KERNEL = jnp.float32(RNG.normal(size=(D, VOCAB)))
TARGETS = jnp.int32(RNG.integers(0, VOCAB, (B, T)))
WEIGHTS = jnp.float32(RNG.uniform(size=(2, B, T)))


def loss(hidden, kernel, chunk):
    """Weighted sums of both outputs, so that gradients of both are seen."""
    nll, lse = chunked_cross_entropy(lambda h: h @ kernel, hidden, TARGETS, chunk)
    return (WEIGHTS[0] * nll).sum() + (WEIGHTS[1] * lse**2).sum(), (nll, lse)


def by_hand():
    logits = np.float64(HIDDEN) @ np.float64(KERNEL)
    lse = np.log(np.exp(logits).sum(-1))
    return lse - np.take_along_axis(logits, np.asarray(TARGETS)[..., None], -1)[..., 0], lse


def plain(hidden, kernel):
    logits = hidden @ kernel
    lse = jax.nn.logsumexp(logits, -1)
    nll = lse - jnp.take_along_axis(logits, TARGETS[..., None], -1)[..., 0]
    return (WEIGHTS[0] * nll).sum() + (WEIGHTS[1] * lse**2).sum()


# 1 and 3: one time step; 7: two with a ragged end; 12: four, ragged; 33 and more: all at once.
@pytest.mark.parametrize("chunk", [1, 3, 7, 12, 33, 1000])
def test_value_and_gradients(chunk):
    (_, (nll, lse)), grads = jax.jit(
        jax.value_and_grad(loss, argnums=(0, 1), has_aux=True), static_argnums=2
    )(HIDDEN, KERNEL, chunk)
    expected_nll, expected_lse = by_hand()
    # Numbers below 10 in float32, sums of 29 terms.
    np.testing.assert_allclose(nll, expected_nll, atol=5e-6)
    np.testing.assert_allclose(lse, expected_lse, atol=5e-6)
    for found, expected in zip(grads, jax.grad(plain, argnums=(0, 1))(HIDDEN, KERNEL), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def size_of_logits(chunk):
    step = jax.grad(lambda h, k: loss(h, k, chunk)[0], argnums=(0, 1))
    return largest(jax.make_jaxpr(step)(HIDDEN, KERNEL).jaxpr, VOCAB)


@pytest.mark.parametrize("chunk,tokens", [(1, B), (7, 2 * B), (12, 4 * B)])
def test_logits_exist_for_one_chunk_only(chunk, tokens):
    # The kernel's gradient [D, VOCAB] is there too.
    assert size_of_logits(chunk) == max(tokens, D) * VOCAB


def test_the_plain_loss_does_hold_all_logits():
    assert size_of_logits(B * T) == B * T * VOCAB


def test_a_target_outside_the_vocabulary_is_not_a_number():
    nll, _ = chunked_cross_entropy(lambda h: h @ KERNEL, HIDDEN, TARGETS.at[0, 0].set(VOCAB), 6)
    assert jnp.isnan(nll[0, 0]) and jnp.isfinite(nll[1:]).all()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_model_reads_its_loss_from_its_logits(tied, dtype):
    model = ready(attention_only(tied=tied, dtype=dtype))
    hidden = model.hidden(model.variables, model.tokens)
    logits = model.logits(model.variables, hidden)
    losses = partial(model.module.apply, chunk=5, method="cross_entropy")
    nll, lse = jax.jit(losses)(model.variables, hidden, model.tokens)
    assert logits.dtype == nll.dtype == lse.dtype == jnp.float32
    np.testing.assert_allclose(lse, jax.nn.logsumexp(logits, -1), rtol=1e-5)
    picked = jnp.take_along_axis(logits, model.tokens[..., None], -1)[..., 0]
    np.testing.assert_allclose(nll, jax.nn.logsumexp(logits, -1) - picked, atol=2e-5)
    assert ("unembed" in model.variables["params"]) == (not tied)
    if tied:
        table = model.variables["params"]["embed"]["embedding"].astype(hidden.dtype)
        expected = np.float64(hidden) @ np.float64(table).T
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
