"""The exchange against a walk over the slices on one device, with all gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from kernels_pallas.exchange import Exchange, exchange, halo
from kernels_pallas.exchange.entering import leaving
from kernels_pallas.monoid import Summary
from tests.kernels_pallas.exchange.lines import LINE, TWO, collectives, mesh_of, on_line

B, H, K, V = 2, 3, 4, 5
# Transition of W slices, and whether it differs between them.
FAMILIES = {
    "none": None,
    "constant": (H,),
    "scalar": (B, H),
    "key": (B, H, K),
    "matrix": (B, H, K, K),
    "elementwise": (B, K),
}
METHODS = ("all_gather", "hierarchical", "log_step", "ring")


def slices(family: str, ranks: int) -> tuple[Any, Any, Any]:
    """Transitions (or None), states and cotangents of all slices."""
    rng, shape = np.random.default_rng(ranks), FAMILIES[family]
    states = (ranks, B, K) if family == "elementwise" else (ranks, B, H, K, V)
    e, weights = (jnp.asarray(rng.normal(size=states), jnp.float32) for _ in range(2))
    if shape is None:
        return None, e, weights
    m = rng.uniform(0.1, 1, size=shape if family == "constant" else (ranks, *shape))
    if family == "matrix":
        m *= rng.choice([-0.5, 0.5], size=m.shape)
    elif family != "constant":
        m[:, 0] = 0  # a document begins within every slice of the first row
    return jnp.asarray(m, jnp.float32), e, weights


def one_by_one(family: str, m: Any, e: jax.Array) -> jax.Array:
    state, found = jnp.zeros_like(e[0]), []
    for rank in range(e.shape[0]):
        found.append(state)
        own = m if family in ("none", "constant") else m[rank]
        state = leaving(Summary(own, e[rank]), state)
    return jnp.stack(found)


def on_devices(family: str, axes: tuple[str, ...], ranks: int, how: Exchange) -> Any:
    shared = family in ("none", "constant")

    def body(m: Any, e: jax.Array) -> jax.Array:
        return exchange(Summary(m if shared else m[0], e[0]), axes, how)[None]

    specs = (P() if shared else P(axes), P(axes))
    return on_line(body, mesh_of(axes, ranks), specs)


def close(found: Any, wanted: Any, bound: float = 1e-6) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert np.max(np.abs(a - b)) <= bound * np.max(np.abs(b))


LINES = [(LINE, 8)] + [
    pytest.param(axes, ranks, marks=pytest.mark.slow)
    for axes, ranks in ((LINE, 1), (LINE, 2), (LINE, 3), (LINE, 4), (TWO, 8))
]


@pytest.mark.parametrize(("axes", "ranks"), LINES)
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_a_walk_over_the_slices(family: str, axes: tuple[str, ...], ranks: int) -> None:
    m, e, weights = slices(family, ranks)

    def outcome(function: Any) -> Any:
        found, pull = jax.vjp(function, m, e)
        return found, pull(weights)

    wanted = outcome(partial(one_by_one, family))
    for method in METHODS:  # one program each: many collectives at once can starve two cores
        way = on_devices(family, axes, ranks, Exchange(method))
        close(jax.block_until_ready(jax.jit(partial(outcome, way))()), wanted)


@pytest.mark.parametrize("factors", [(2, 2, 2), (4, 2), (1, 8), (8,)])
@pytest.mark.parametrize("family", ["key", "matrix"])
def test_any_factors(family: str, factors: tuple[int, ...]) -> None:
    m, e, _ = slices(family, 8)
    how = Exchange("hierarchical", factors)
    close(jax.jit(on_devices(family, LINE, 8, how))(m, e), one_by_one(family, m, e))


def test_the_sum_of_all_states_and_nothing() -> None:
    _, e, weights = slices("none", 4)
    add, off = (
        jax.jit(partial(on_devices("none", LINE, 4, Exchange(method)), None))
        for method in ("psum", "off")
    )
    total, pull = jax.vjp(add, e)
    close(total, jnp.broadcast_to(e.sum(0), e.shape))
    close(pull(weights), (jnp.broadcast_to(weights.sum(0), e.shape),))
    nothing, pull = jax.vjp(off, e)
    assert not np.any(nothing) and not np.any(pull(weights)[0])


@pytest.mark.parametrize("method", METHODS)
def test_a_rounded_wire(method: str) -> None:
    """States are rounded once a journey; transitions keep 16 bits. Rounding is 2^-8 of an entry at
    most; the bound is half of what the seven roundings of a ring could add up to."""
    m, e, _ = slices("key", 8)
    found = jax.jit(on_devices("key", LINE, 8, Exchange(method, wire="bfloat16")))(m, e)
    wanted = one_by_one("key", m, e)
    close(found, wanted, 7 * 2**-9)
    assert np.any(found != wanted)


def test_matrices_are_never_rounded() -> None:
    m, e, _ = slices("matrix", 8)
    rounded, full = (
        jax.jit(on_devices("matrix", LINE, 8, Exchange(wire=wire)))(m, e)
        for wire in ("bfloat16", None)
    )
    assert np.array_equal(rounded, full)


def test_hard_decay_early_costs_later_ranks_nothing() -> None:
    """A quotient of cumulative products would have lost everything."""
    m, e, _ = slices("key", 8)
    m = m.at[:4].set(1e-30).at[4:].set(0.999)
    for method in METHODS:
        close(jax.jit(on_devices("key", LINE, 8, Exchange(method)))(m, e), one_by_one("key", m, e))


COUNTS = {  # forward, forward and backward
    ("all_gather", "key"): ({"all-gather": 1}, {"all-gather": 2}),
    ("all_gather", "matrix"): ({"all-gather": 1}, {"all-gather": 2}),
    ("hierarchical", "key"): ({"all-gather": 2}, {"all-gather": 4}),
    ("log_step", "key"): ({"collective-permute": 4}, {"collective-permute": 8}),
    ("ring", "key"): ({"collective-permute": 1}, {"collective-permute": 2}),  # in a loop of seven
    ("off", "key"): ({}, {}),
}


@pytest.mark.parametrize(("method", "family"), COUNTS)
def test_number_of_collectives(method: str, family: str) -> None:
    m, e, weights = slices(family, 8)
    way = on_devices(family, LINE, 8, Exchange(method))
    both = lambda m, e: jax.vjp(way, m, e)[1](weights)  # noqa: E731
    counts = tuple(
        collectives(jax.jit(function).lower(m, e).compile().as_text()) for function in (way, both)
    )
    assert counts == COUNTS[method, family]


@pytest.mark.parametrize(
    ("how", "family", "words"),
    [
        (Exchange("gather"), "key", "method is 'gather'; wanted one of auto, all_gather"),
        (Exchange(wire="int8"), "key", "wire is 'int8'"),
        (Exchange("hierarchical", (3, 2)), "key", r"factors \(3, 2\) make 6 devices, .* has 8"),
        (Exchange("psum"), "key", "a psum adds states that do not decay"),
    ],
)
def test_bad_input(how: Exchange, family: str, words: str) -> None:
    m, e, _ = slices(family, 8)
    with pytest.raises(ValueError, match=words):
        on_devices(family, LINE, 8, how)(m, e)


@pytest.mark.parametrize("axis", ["sequence", ("seq", "sequence")])
def test_an_axis_that_is_not_there(axis: Any) -> None:
    """It is named beside those that are there."""
    mesh = jax.make_mesh((8,), ("seq",), axis_types=(jax.sharding.AxisType.Auto,))
    look = jax.shard_map(
        lambda x: halo(x, axis, 1), mesh=mesh, in_specs=P(None, "seq"), out_specs=P(None, "seq")
    )
    with pytest.raises(ValueError, match=r"^axis is .*; wanted a mesh axis, .* runs over: seq\b"):
        look(jnp.ones((1, 8, 1)))
    with pytest.raises(ValueError, match=r"runs over: there is none here$"):
        halo(jnp.ones((1, 8, 1)), "seq", 1)
