"""Every registered mixer over a sequence that eight devices hold; a new kind is in it by being
registered."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlin.config.exchange import Exchange
from tests.conformance.mixers import FLOAT64, FLOAT64_BY_KIND, params, placed
from tests.conformance.variants import ALIKE, LATER, WIDTH, all_cases, default_cases
from tests.kernels_pallas.exchange.lines import mesh_of

ALL, DEFAULT = all_cases(), default_cases()
B, T, RANKS = 2, 64, 8
# Documents that end inside a slice, on a border, and after several slices.
PACKED = np.stack([np.searchsorted(s, np.arange(T), side="right") for s in ((5, 16, 40), (33, 57))])


def built(config: Any, exchange: Exchange, dtype: Any = jnp.float32) -> Any:
    return placed(config, dtype=dtype, exchange=exchange)


@cache
def outcome(config: Any, packed: bool, exchange: Exchange | None) -> Any:
    """Output, and gradients of parameters and input, on one device or (exchange given) on eight."""
    module = built(config, exchange or Exchange(), jnp.float64)
    rng = np.random.default_rng(7)
    x, weights = (jnp.asarray(rng.normal(size=(B, T, WIDTH))) for _ in range(2))
    ids = jnp.asarray(PACKED, jnp.int32) if packed else None

    def run(p: Any, x: jax.Array, weights: jax.Array) -> Any:
        apply = lambda p, x: module.apply(p, x, segment_ids=ids)[0]  # noqa: E731
        y, pull = jax.vjp(apply, p, x)
        return y, pull(weights)

    if exchange is None:
        return jax.jit(run)(params(config), x, weights)
    mesh, weight = mesh_of(("seq",), RANKS), params(config)
    split = NamedSharding(mesh, P(None, "seq"))
    with jax.set_mesh(mesh):
        places = (NamedSharding(mesh, P()), split, split)
        return jax.block_until_ready(jax.jit(run, in_shardings=places)(weight, x, weights))


def check(config: Any, packed: bool) -> None:
    """Outputs and gradients of all inputs and parameters, relative to the largest entry. In
    float64: some variants lose 3e-5 in float32 on one device already."""
    with jax.enable_x64(True):
        found, wanted = (outcome(config, packed, exchange) for exchange in (Exchange(), None))
    bound = FLOAT64_BY_KIND.get(config.kind, FLOAT64)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert np.max(np.abs(a - b)) <= bound * np.max(np.abs(b))


def equals_one_device(config: Any) -> None:
    """In packed documents."""
    check(config, packed=True)


def _marks(name: str, config: Any) -> list[pytest.MarkDecorator]:
    """Variants of kinds whose ops other kinds stand for wait for a release."""
    if name in DEFAULT:
        return [pytest.mark.slow] if name in LATER else []
    return [pytest.mark.long if config.kind in ALIKE else pytest.mark.slow]


def _of_default(name: str, config: Any) -> list[pytest.MarkDecorator]:
    """All variants wait for a release, and the kinds that others stand for."""
    return _marks(name, config) if name in DEFAULT and name not in ALIKE else [pytest.mark.long]


CASES = [pytest.param(config, id=name, marks=_marks(name, config)) for name, config in ALL.items()]
FEWER = [pytest.param(c, id=name, marks=_of_default(name, c)) for name, c in ALL.items()]


@pytest.mark.parametrize("config", CASES)
def test_equals_one_device(config: Any) -> None:
    equals_one_device(config)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(config, id=name, marks=[pytest.mark.long] if name in ALIKE else [])
        for name, config in DEFAULT.items()
    ],
)
def test_equals_one_device_without_documents(config: Any) -> None:
    check(config, packed=False)


def reach(config: Any, exchange: Exchange, ranks: int = RANKS) -> jax.Array:
    """|d y_last / d x_t| of each token, [T]."""
    module = built(config, exchange)
    x = jnp.asarray(np.random.default_rng(8).normal(size=(1, T, WIDTH)), jnp.float32)
    last = lambda p, x: jnp.sum(module.apply(p, x)[0][:, -1] ** 2)  # noqa: E731
    weights = params(config)
    with jax.set_mesh(mesh_of(("seq",), ranks)):
        return jnp.abs(jax.jit(jax.grad(last, 1))(weights, x)).sum((0, 2))


def causal(config: Any) -> None:
    """No output depends on a later token."""
    module = built(config, Exchange())
    x = jnp.asarray(np.random.default_rng(8).normal(size=(1, T, WIDTH)), jnp.float32)
    at, weights = T // 2 + 3, params(config)
    with jax.set_mesh(mesh_of(("seq",), RANKS)):
        run = jax.jit(partial(module.apply, weights))
        before, after = (run(y)[0] for y in (x, x.at[:, at].add(1.0)))
    changed = np.any(np.asarray(before != after), axis=(0, 2))
    assert not changed[:at].any() and changed[at]


def sees_the_first_token(config: Any) -> None:
    """And only its own slice where nothing travels, or the first half would prove nothing."""
    window = getattr(config, "window", None)
    first = 0 if window is None else T - window
    if not reach(config, Exchange(), ranks=1)[first] > 0:
        pytest.skip("forgets the first token by itself")
    assert reach(config, Exchange())[first] > 0
    alone = reach(config, Exchange(method="off", softmax="off"))
    halo = max((getattr(config, "conv", 0) or 1) - 1, 0)
    assert not alone[: T - T // RANKS - halo].any() and alone[-1] > 0


# What is asked of a mixer over several devices.
ACROSS = (equals_one_device, sees_the_first_token, causal)


@pytest.mark.parametrize("config", FEWER)
def test_the_last_device_sees_the_first_token(config: Any) -> None:
    sees_the_first_token(config)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(config, id=name, marks=[pytest.mark.long] if name in ALIKE else [])
        for name, config in DEFAULT.items()
    ],
)
def test_no_output_depends_on_a_later_token(config: Any) -> None:
    causal(config)
