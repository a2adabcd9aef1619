"""Ops on each device's part of batch and heads, under a mesh that the compiler splits over."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import kernels_pallas as kp
from kernels_pallas.static.compiling import unkept
from tests.conformance.ops import Case, Dims, assert_close, device_arrays, each, exact, make_case
from tests.conformance.test_ops import BOUND32, FORMS, LAST, WAYS
from tests.kernels_pallas.aot import CHIPS, aot

CASES = [
    pytest.param(*case, marks=[] if case[:2] in WAYS else pytest.mark.slow)
    for case in each(FORMS, "xla")
]
CASES += each(LAST, "pallas_tpu")
DIMS = Dims(b=4, h=2, k=64, v=64)


def gradients(case: Case, **options) -> Callable[..., dict]:
    """Outputs, state and the gradient of every input, with the op on each device."""
    op = kp.per_device(case.op.run, batch=("data", "fsdp"), heads=("tensor",))

    def run(arrays: dict, ids: jax.Array, weights: tuple) -> dict:
        found, pull = jax.vjp(lambda arrays: op(**arrays, segment_ids=ids, **options), arrays)
        (d_arrays,) = pull(weights)
        return dict(zip(("outputs", "state"), found, strict=True)) | {
            f"d_{n}": x for n, x in d_arrays.items()
        }

    return run


@pytest.mark.parametrize(("name", "form", "implementation"), CASES)
def test_it_is_the_op(name: str, form: str, implementation: str) -> None:
    case = make_case(name, form, 20, dims=Dims(b=4), starts=(6,))
    options = {"implementation": implementation, "chunk_size": 16}
    if implementation == "pallas_tpu":
        options["interpret"] = True
    arrays, weights = device_arrays(case, np.float32)
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(2, 2, 1, 2), ("data", "fsdp", "seq", "tensor"))
    with jax.set_mesh(mesh):
        run = jax.jit(gradients(case, **options))
        found = run(arrays, jnp.asarray(case.segment_ids), weights)
    assert not found["outputs"].is_fully_replicated
    assert_close({n: np.asarray(x) for n, x in found.items()}, exact(case), BOUND32)


def test_without_a_mesh_it_calls_the_op() -> None:
    q = jnp.ones((1, 4, 1, 2))
    wanted = jax.make_jaxpr(lambda q: kp.linear_attention(q, q, q))(q)
    op = kp.per_device(kp.linear_attention, batch=("data",))
    assert str(jax.make_jaxpr(lambda q: op(q, q, q))(q)) == str(wanted)


def test_what_cannot_be_split_evenly_is_refused() -> None:
    q = jnp.ones((3, 4, 1, 2))
    op = kp.per_device(kp.linear_attention, batch=("data",))
    with jax.set_mesh(Mesh(np.array(jax.devices()[:2]), ("data",))):
        with pytest.raises(
            ValueError,
            match="per_device: q .* its batch, 3, cannot be split evenly .* nearest: 2 or 4",
        ):
            op(q, q, q)


@aot
@pytest.mark.parametrize(("name", "form", "implementation"), each(LAST, "pallas_tpu"))
def test_four_chips_run_the_kernel_and_send_nothing(
    name: str, form: str, implementation: str
) -> None:
    case = make_case(name, form, 64, dims=DIMS, starts=(6,))
    topology = topologies.get_topology_desc(platform="tpu", topology_name=CHIPS["v5e"].topology)
    mesh = Mesh(np.array(topology.devices).reshape(2, 2), ("data", "tensor"))

    def place(x: np.ndarray, dtype: str = "float32") -> jax.ShapeDtypeStruct:
        wide = {4: P("data", None, "tensor"), 3: P("data", None, "tensor"), 2: P("data")}[x.ndim]
        return jax.ShapeDtypeStruct(x.shape, dtype, sharding=NamedSharding(mesh, wide))

    def state(x: np.ndarray) -> jax.ShapeDtypeStruct:
        split = NamedSharding(mesh, P("data", "tensor"))
        return jax.ShapeDtypeStruct(x.shape, "float32", sharding=split)

    arrays = {n: (state if n == "initial_state" else place)(x) for n, x in case.arrays.items()}
    weights = place(case.cotangents[0]), state(case.cotangents[1])
    with jax.set_mesh(mesh), unkept():
        traced = jax.jit(gradients(case)).trace(arrays, place(case.segment_ids, "int32"), weights)
        text = traced.lower(lowering_platforms=("tpu",)).compile().as_text()
    assert "tpu_custom_call" in text
    assert not [c for c in ("all-gather", "all-reduce", "all-to-all", "permute(") if c in text]
