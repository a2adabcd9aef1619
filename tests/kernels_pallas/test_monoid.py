"""Laws of the state monoid, on small whole numbers: every product and sum is exact."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels_pallas import monoid
from kernels_pallas.monoid import Summary

B, H, K, V = 2, 2, 3, 4
STATE = (B, H, K, V)
KINDS = {
    "scalar": ((B, H), STATE),
    "vector": ((B, H, K), STATE),
    "dense": ((B, H, K, K), STATE),
    "channel": ((B, K), (B, K)),
}
kinds = pytest.mark.parametrize("kind", KINDS)
seeds = given(st.integers(0, 2**32 - 1))
few = settings(max_examples=20, deadline=None)


def draw(seed: int, kind: str, count: int) -> tuple[list[Summary], jnp.ndarray]:
    """`count` summaries and a state."""
    rng = np.random.default_rng(seed)

    def whole(shape: tuple[int, ...]) -> jnp.ndarray:
        return jnp.asarray(rng.integers(-3, 4, shape), jnp.float32)

    transition, state = KINDS[kind]
    return [Summary(whole(transition), whole(state)) for _ in range(count)], whole(state)


def same(found: Summary, wanted: Summary) -> None:
    for have, want in zip(found, wanted, strict=True):
        assert have.shape == want.shape
        np.testing.assert_array_equal(have, want)


@kinds
@few
@seeds
def test_composition_is_associative(kind: str, seed: int) -> None:
    (a, b, c), _ = draw(seed, kind, 3)
    same(
        monoid.compose(monoid.compose(a, b), c),
        monoid.compose(a, monoid.compose(b, c)),
    )


@kinds
@few
@seeds
def test_identity(kind: str, seed: int) -> None:
    (a,), state = draw(seed, kind, 1)
    nothing = monoid.identity(a)
    same(monoid.compose(nothing, a), a)
    same(monoid.compose(a, nothing), a)
    np.testing.assert_array_equal(monoid.apply(nothing, state), state)


@kinds
@few
@seeds
def test_applying_a_composition_is_applying_both(kind: str, seed: int) -> None:
    (a, b), state = draw(seed, kind, 2)
    np.testing.assert_array_equal(
        monoid.apply(monoid.compose(a, b), state), monoid.apply(b, monoid.apply(a, state))
    )


@kinds
@few
@seeds
def test_the_adjoint_is_the_transpose(kind: str, seed: int) -> None:
    """<M x, y> = <x, M^T y>."""
    (a, b), x = draw(seed, kind, 2)
    y = b.state
    forward = monoid.apply(a, x) - a.state
    assert jnp.sum(forward * y) == jnp.sum(x * monoid.adjoint(a, y))


@kinds
@few
@seeds
def test_prefixes(kind: str, seed: int) -> None:
    (a, b, c), _ = draw(seed, kind, 3)
    first, second, third = monoid.prefixes([a, b, c])
    same(first, monoid.identity(a))
    same(second, a)
    same(third, monoid.compose(a, b))
