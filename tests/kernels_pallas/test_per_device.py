"""What `per_device` refuses, and axes of type Explicit, which `jax.make_mesh` makes."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import kernels_pallas as kp
from kernels_pallas.exchange import Exchange

B, T, H, K = 2, 8, 2, 4
RNG = np.random.default_rng(0)
Q, KEYS, V = (jnp.asarray(RNG.normal(size=(B, T, H, K)), jnp.float32) for _ in range(3))
DECAY = -jnp.abs(jnp.asarray(RNG.normal(size=(B, T, H)), jnp.float32))
CALL = (Q, KEYS, V, DECAY)
SPLIT = {"batch": ("data",), "time": "seq"}


@pytest.fixture
def mesh() -> jax.sharding.Mesh:
    return jax.make_mesh((2, 4), ("data", "seq"))


@pytest.fixture(autouse=True)
def as_users_call() -> Iterator[None]:
    """Without the tests' own shape checks, which would speak first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def loss(op: Callable[..., Any], call: tuple) -> tuple:
    out, state = op(*call)
    return jnp.sum(out**2) + jnp.sum(state**2), (out, state)


@pytest.mark.slow
def test_a_mesh_of_explicit_axes(mesh: jax.sharding.Mesh) -> None:
    """From whole arrays and from split ones: outputs, state and gradients of the op itself."""
    run = jax.value_and_grad(loss, argnums=1, has_aux=True)
    wanted = jax.jit(run, static_argnums=0)(kp.linear_attention, CALL)
    with jax.set_mesh(mesh):
        split = tuple(jax.sharding.reshard(x, P("data", "seq")) for x in CALL)
        with pytest.raises(
            ValueError, match=r"^linear_attention: q .* type Explicit.*per_device\("
        ):
            kp.linear_attention(*split)
        op = kp.per_device(kp.linear_attention, **SPLIT)
        out, _ = op(*CALL)
        assert jax.typeof(out).sharding.spec[:2] == ("data", "seq")
        np.testing.assert_allclose(out, wanted[0][1][0], rtol=1e-5, atol=1e-5)
        gradients = jax.jit(run, static_argnums=0)(op, split)[1]
    for have, want in zip(gradients, wanted[1], strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5)


BAD: list[tuple[dict[str, Any], tuple, str]] = [
    (SPLIT, (Q[0], *CALL[1:]), r"^linear_attention: q \[b t h k\] has shape"),
    (SPLIT, (*CALL[:3], -DECAY), r"^linear_attention: log_decay \(2, 8, 2\) reaches"),
    (
        {"time": "seq"},
        tuple(x[:, :7] for x in CALL),
        r"^per_device: q \[b t h k\] has shape .*time, 7, cannot .* the 4 devices .* seq; "
        "nearest: 4 or 8",
    ),
    ({"heads": ("seq",)}, CALL, r"its heads, 2, cannot be split .* nearest: 4"),
]


@pytest.mark.parametrize(("split", "call", "message"), BAD)
def test_a_bad_call(
    mesh: jax.sharding.Mesh, split: dict[str, Any], call: tuple, message: str
) -> None:
    with jax.set_mesh(mesh), pytest.raises(ValueError, match=message) as caught:
        kp.per_device(kp.linear_attention, **split)(*call)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("op", "options", "message"),
    [
        (kp.bidirectional_linear_attention, {}, "'bidirectional_linear_attention' is no op; known"),
        (
            kp.delta_rule,
            {"how": "ring"},
            r"how is 'ring'; wanted an Exchange, such as Exchange\('r",
        ),
        (kp.delta_rule, {"how": Exchange("hierarchical", 4)}, "factors is 4; wanted whole numbers"),  # pyright: ignore
        (
            kp.delta_rule,
            {"heads": "seq", "time": ("seq",)},
            "mesh axis 'seq' is named for heads and for time",
        ),
    ],
)
def test_what_is_refused_at_once(op: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^per_device: .*{message}"):
        kp.per_device(op, **options)
