"""The summary of a stretch: a dense transition, later tokens on the left, composition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas import monoid
from kernels_pallas.delta_rule import delta_rule, delta_rule_summary
from tests.conformance.ops import Arrays, make_case

T, CHUNK, NAMES = 21, 8, ("k", "v", "beta", "log_decay")
make = functools.partial(make_case, "delta_rule")


@functools.partial(jax.jit, static_argnames=("start", "stop"))
def summary(arrays, segment_ids=None, start: int = 0, stop: int = T) -> monoid.Summary:
    along_time = {name: arrays[name][:, start:stop] for name in NAMES if name in arrays}
    ids = None if segment_ids is None else segment_ids[:, start:stop]
    return delta_rule_summary(**along_time, segment_ids=ids, chunk_size=CHUNK)


def product_of_tokens(arrays: Arrays) -> np.ndarray:
    """(I - beta k k^T) Diag(exp g), one token after the other, later ones on the left."""
    k, beta = arrays["k"], arrays["beta"]
    decay = arrays.get("log_decay", np.zeros_like(beta))
    decay = np.broadcast_to(decay if decay.ndim == 4 else decay[..., None], k.shape)
    unit = np.eye(k.shape[-1])
    total = np.broadcast_to(unit, (k.shape[0], k.shape[2], *unit.shape))
    for t in range(k.shape[1]):
        key = k[:, t]
        write = beta[:, t, :, None, None] * key[..., :, None] * key[..., None, :]
        total = (unit - write) @ (np.exp(decay[:, t])[..., None] * total)
    return total


@pytest.mark.parametrize("form", ("none", "head", "key"))
def test_transition_is_the_product_over_tokens(form: str) -> None:
    case = make(form, T)
    with jax.enable_x64(True):
        found = summary(case.arrays)
    np.testing.assert_allclose(found.transition, product_of_tokens(case.arrays), rtol=0, atol=1e-14)


@pytest.mark.parametrize("starts", ((), (3, 9), (12,)))
def test_parts_compose_to_the_whole_and_give_the_final_state(starts: tuple[int, ...]) -> None:
    """A border between the parts is in neither: who joins them puts an empty transition there."""
    case = make("key", T, starts=starts)
    with jax.enable_x64(True):
        arrays = {name: jnp.asarray(x) for name, x in case.arrays.items()}
        ids = jnp.asarray(case.segment_ids) if starts else None
        earlier, later = (summary(arrays, ids, a, b) for a, b in ((0, 9), (9, T)))
        if 9 in starts:
            later = later._replace(transition=jnp.zeros_like(later.transition))
        joined, whole = monoid.compose(earlier, later), summary(arrays, ids)
        _, wanted = delta_rule(**arrays, segment_ids=ids, implementation="reference")
        found = monoid.apply(joined, arrays["initial_state"])
    for have, want in ((joined.transition, whole.transition), (joined.state, whole.state)):
        np.testing.assert_allclose(have, want, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)
    assert bool(starts) != bool(whole.transition.any())


def test_gradients_through_the_summary_are_those_of_the_state() -> None:
    case = make("key", T)

    def by_summary(given, before, weight):
        return jnp.sum(weight * monoid.apply(summary(given), before))

    def by_recurrence(given, before, weight):
        q = jnp.zeros_like(given["k"])
        _, state = delta_rule(q, **given, initial_state=before, implementation="reference")
        return jnp.sum(weight * state)

    with jax.enable_x64(True):
        given = {name: jnp.asarray(case.arrays[name]) for name in NAMES}
        before, weight = jnp.asarray(case.arrays["initial_state"]), jnp.asarray(case.cotangents[1])
        found = jax.jit(jax.grad(by_summary))(given, before, weight)
        wanted = jax.jit(jax.grad(by_recurrence))(given, before, weight)
    for name in NAMES:
        bound = 1e-13 * np.abs(wanted[name]).max()
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=bound)


def test_without_reading_there_are_no_outputs_to_compute() -> None:
    """The summary's program has no product that only outputs need."""
    case = make("head", T)
    arrays = {n: jnp.asarray(x, jnp.float32) for n, x in case.arrays.items()}
    given = {n: arrays[n] for n in NAMES}

    def flops(f, *args) -> float:
        return jax.jit(f).lower(*args).compile().cost_analysis()["flops"]

    def read(given, q):
        return delta_rule(q, **given, implementation="xla", chunk_size=CHUNK)

    wide = given | {"v": jnp.concatenate([given["v"], given["k"]], axis=-1)}
    assert flops(summary, given) < flops(read, wide, arrays["q"])
