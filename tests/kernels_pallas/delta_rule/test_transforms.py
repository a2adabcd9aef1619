"""The op under vmap, remat, scan and shard_map; the oracle in forward mode and to second order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from kernels_pallas.delta_rule import delta_rule
from tests.kernels_pallas.delta_rule.cases import Case, make_case

T = 12


@functools.cache
def case() -> Case:
    return make_case(T, "constant")


def arrays() -> dict[str, jax.Array]:
    return {name: jnp.asarray(x, jnp.float32) for name, x in case().arrays.items()}


def loss(arrays: dict, implementation: str = "xla") -> jax.Array:
    outputs, state = delta_rule(**arrays, implementation=implementation, chunk_size=4)
    return jnp.sum(jnp.sin(outputs)) + jnp.sum(jnp.sin(state))


@functools.cache
def plain_gradients() -> dict[str, jax.Array]:
    return jax.jit(jax.grad(loss))(arrays())


def assert_same(found: dict, wanted: dict) -> None:
    for name, want in wanted.items():
        np.testing.assert_allclose(
            found[name], want, rtol=0, atol=4e-6 * np.abs(want).max(), err_msg=name
        )


def test_remat() -> None:
    assert_same(jax.jit(jax.grad(jax.checkpoint(loss)))(arrays()), plain_gradients())


def test_scan_over_layers() -> None:
    """Three layers of the op, scanned, against the same three in a Python loop."""

    def layer(v: jax.Array, k: jax.Array) -> tuple[jax.Array, None]:
        given = arrays()
        return delta_rule(given["q"], k, v, given["beta"], implementation="xla")[0], None

    def scanned(keys: jax.Array) -> jax.Array:
        return jnp.sum(jax.lax.scan(layer, arrays()["v"], keys)[0] ** 2)

    def looped(keys: jax.Array) -> jax.Array:
        v = arrays()["v"]
        for k in keys:
            v, _ = layer(v, k)
        return jnp.sum(v**2)

    keys = jnp.stack([arrays()["k"]] * 3)
    found, wanted = (jax.jit(jax.grad(f))(keys) for f in (scanned, looped))
    assert_same({"keys": found}, {"keys": wanted})


def test_vmap_over_one_argument() -> None:
    keys = jnp.stack([arrays()["k"], -arrays()["k"], 0.5 * arrays()["k"]])

    def gradient(k: jax.Array) -> dict:
        return jax.grad(loss)(arrays() | {"k": k})

    together = jax.jit(jax.vmap(gradient))(keys)
    for i, k in enumerate(keys):
        alone = jax.jit(gradient)(k)
        assert_same({n: x[i] for n, x in together.items()}, alone)


@pytest.mark.parametrize("with_state", (False, True))
def test_shard_map_over_the_batch(with_state: bool) -> None:
    """A decay held once for all devices gets the sum of their gradients."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    given = arrays()
    if not with_state:
        del given["initial_state"]
    specs = {name: P() if name == "log_decay" else P("data") for name in given}

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(specs,), out_specs=P())
    def sharded(arrays: dict) -> jax.Array:
        return jax.lax.psum(loss(arrays), "data")

    assert_same(jax.jit(jax.grad(sharded))(given), jax.jit(jax.grad(loss))(given))


def test_a_step_continues_a_prefix() -> None:
    """Decoding: the state after t - 1 tokens and one step give what t tokens give."""
    given = {n: x for n, x in arrays().items() if n not in ("log_decay", "initial_state")}
    whole, final = delta_rule(**given)
    _, state = delta_rule(**{n: x[:, :-1] for n, x in given.items()})
    step, last = delta_rule(**{n: x[:, -1:] for n, x in given.items()}, initial_state=state)
    assert_same({"step": step, "state": last}, {"step": whole[:, -1:], "state": final})


def test_oracle_in_forward_mode_and_to_second_order() -> None:
    with jax.enable_x64(True):
        given = {name: jnp.asarray(x) for name, x in case().arrays.items()}
        direction = jax.tree.map(lambda x: jnp.cos(3 * x), given)
        value = functools.partial(loss, implementation="reference")
        _, along = jax.jvp(value, (given,), (direction,))
        gradient, turn = jax.jvp(jax.grad(value), (given,), (direction,))
        inner = sum(jnp.vdot(gradient[n], direction[n]) for n in given)
        np.testing.assert_allclose(along, inner, rtol=1e-12)
        step = 1e-5
        ahead, behind = (
            jax.grad(value)(jax.tree.map(lambda x, d, s=s: x + s * d, given, direction))
            for s in (step, -step)
        )
        for name, want in turn.items():  # the difference quotient errs by step^2
            quotient = (ahead[name] - behind[name]) / (2 * step)
            np.testing.assert_allclose(quotient, want, rtol=0, atol=1e-8 * jnp.abs(want).max())
