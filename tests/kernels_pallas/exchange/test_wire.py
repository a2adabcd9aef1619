"""What travels of a summary: there and back, rounded or not, in as many numbers as the formula."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels_pallas.exchange.choose import state_of
from kernels_pallas.exchange.traffic import beside
from kernels_pallas.exchange.wire import Wire
from kernels_pallas.monoid import Summary

B, H, K = 2, 3, 4
KINDS = {  # of a transition and a state; v that divides the transition's numbers, and not
    "head": ((B, H), (B, H, K, 6)),
    "head, a row not full": ((B, H), (B, H, K, 7)),
    "head, more than a row": ((B, H), (B, H, K, 5)),
    "key": ((B, H, K), (B, H, K, 8)),
    "key, a row not full": ((B, H, K), (B, H, K, 5)),
    "matrix": ((B, H, K, K), (B, H, K, 2 * K)),
    "matrix, a row not full": ((B, H, K, K), (B, H, K, 5)),
    "channel": ((B, K), (B, K)),
}
kinds = pytest.mark.parametrize("kind", KINDS)
wires = pytest.mark.parametrize("dtype", [None, jnp.bfloat16])


def draw(kind: str, number: int = 0) -> Summary:
    rng = np.random.default_rng(number)
    return Summary(*(jnp.asarray(rng.uniform(0.1, 1, s), jnp.float32) for s in KINDS[kind]))


@kinds
def test_there_and_back(kind: str) -> None:
    wire, own = Wire(None, with_transition=True), draw(kind)
    for have, want in zip(wire.unpack(wire.pack(own), own), own, strict=True):
        np.testing.assert_array_equal(have, want, strict=True)


@kinds
def test_in_bfloat16_a_transition_keeps_sixteen_bits(kind: str) -> None:
    wire, own = Wire(jnp.bfloat16, with_transition=True), draw(kind)
    assert wire.pack(own).dtype == jnp.bfloat16
    found = wire.unpack(wire.pack(own), own)
    np.testing.assert_array_equal(found.state, own.state.astype(jnp.bfloat16).astype(jnp.float32))
    np.testing.assert_allclose(found.transition, own.transition, rtol=2**-17)
    assert found.transition.dtype == jnp.float32


@kinds
@wires
def test_as_many_numbers_as_the_formula_says(kind: str, dtype: object) -> None:
    own = draw(kind)
    packed = Wire(dtype, with_transition=True).pack(own)
    wire = None if dtype is None else "bfloat16"
    assert packed.size - own.state.size == beside(state_of(own), wire)
    used = own.state.size + own.transition.size * (1 if dtype is None else 2)
    assert packed.size - used < own.state.shape[-1]
    assert not np.any(packed.reshape(-1)[used:])


@kinds
def test_gathered_ones_are_taken_apart_each(kind: str) -> None:
    wire, parts = Wire(None, with_transition=True), [draw(kind, n) for n in range(3)]
    packed = jnp.stack([wire.pack(part) for part in parts])
    found = jax.vmap(functools.partial(wire.unpack, like=parts[0]))(packed)
    for n, part in enumerate(parts):
        for have, want in zip(found, part, strict=True):
            np.testing.assert_array_equal(have[n], want)


@wires
def test_a_state_alone_travels_as_it_is(dtype: object) -> None:
    wire, own = Wire(dtype, with_transition=False), draw("key")
    packed = wire.pack(own)
    assert packed.shape == own.state.shape
    found = wire.unpack(packed, own)
    assert found.transition is own.transition
    np.testing.assert_array_equal(found.state, packed.astype(jnp.float32))
