"""The summary of a stretch: dense transition, later tokens on the left, composition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import monoid
from kernels_pallas.delta_rule import delta_rule, delta_rule_summary
from tests.kernels_pallas.delta_rule.cases import Case, make_case

T, CHUNK = 21, 8


@functools.partial(jax.jit, static_argnames=("start", "stop"))
def summary(arrays, segment_ids=None, start: int = 0, stop: int = T) -> monoid.Summary:
    along_time = {
        name: x[:, start:stop] for name, x in arrays.items() if name not in ("q", "initial_state")
    }
    ids = None if segment_ids is None else segment_ids[:, start:stop]
    return delta_rule_summary(**along_time, segment_ids=ids, chunk_size=CHUNK)


def product_of_tokens(case: Case) -> np.ndarray:
    """(I - beta k k^T) Diag(exp g), one token after the other, later ones on the left."""
    k, beta = case.arrays["k"], case.arrays["beta"]
    decay = case.arrays.get("log_decay", np.zeros_like(beta))
    decay = np.broadcast_to(decay if decay.ndim == 4 else decay[..., None], k.shape)
    total = np.zeros((k.shape[0], k.shape[2], k.shape[3], k.shape[3])) + np.eye(k.shape[-1])
    for t in range(k.shape[1]):
        key = k[:, t]
        write = beta[:, t, :, None, None] * key[..., :, None] * key[..., None, :]
        total = (np.eye(k.shape[-1]) - write) @ (np.exp(decay[:, t])[..., None] * total)
    return total


@pytest.mark.parametrize("decay", ("none", "head", "key"))
def test_transition_is_the_product_over_tokens(decay: str) -> None:
    case = make_case(T, decay)
    with jax.enable_x64(True):
        found = summary(case.arrays)
    np.testing.assert_allclose(found.transition, product_of_tokens(case), rtol=0, atol=1e-14)


@pytest.mark.parametrize("segments", (False, True))
def test_parts_compose_to_the_whole_and_give_the_final_state(segments: bool) -> None:
    case = make_case(T, "key", segments=segments)
    with jax.enable_x64(True):
        parts = [summary(case.arrays, case.segment_ids, a, b) for a, b in ((0, 9), (9, T))]
        if segments:  # a reset on the border belongs to neither part: the caller cuts there
            crossing = case.segment_ids[:, 8] == case.segment_ids[:, 9]
            keep = crossing[:, None, None, None]
            parts[1] = parts[1]._replace(transition=parts[1].transition * keep)
        joined = monoid.compose(*parts)
        whole = summary(case.arrays, case.segment_ids)
        _, wanted = delta_rule(
            **case.arrays, segment_ids=case.segment_ids, implementation="reference"
        )
        found = monoid.apply(joined, jnp.asarray(case.arrays["initial_state"]))
    np.testing.assert_allclose(joined.transition, whole.transition, rtol=0, atol=1e-14)
    np.testing.assert_allclose(joined.state, whole.state, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


def test_a_reset_inside_forgets_everything_before() -> None:
    case = make_case(T, "head")
    ids = np.broadcast_to(np.arange(T) >= 13, (2, T)).astype(np.int32)
    assert not summary(case.arrays, ids).transition.any()


def test_gradients_through_the_summary_are_those_of_the_state() -> None:
    case = make_case(T, "key")
    names = ("k", "v", "beta", "log_decay")
    weight, before = case.cotangents[1], case.arrays["initial_state"]

    def by_summary(given):
        state = monoid.apply(summary(case.arrays | given), before)
        return jnp.sum(weight * state)

    def by_recurrence(given):
        _, state = delta_rule(**(case.arrays | given), implementation="reference")
        return jnp.sum(weight * state)

    with jax.enable_x64(True):
        given = {name: jnp.asarray(case.arrays[name]) for name in names}
        found = jax.jit(jax.grad(by_summary))(given)
        wanted = jax.jit(jax.grad(by_recurrence))(given)
    for name in names:
        bound = 1e-13 * np.abs(wanted[name]).max()
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=bound)
