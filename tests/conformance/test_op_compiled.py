"""Kernels inside shard_map, as the TPU compiler sees them: the interpreter has no varying axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kernels_pallas.static.compiling import unkept
from tests.conformance.ops import Dims, each, make_case
from tests.conformance.test_ops import FORMS
from tests.kernels_pallas.aot import CHIPS, aot


@aot
@pytest.mark.parametrize(("name", "form", "implementation"), each(FORMS, "pallas_tpu"))
def test_shard_map_over_the_batch(name: str, form: str, implementation: str) -> None:
    """Outputs and gradients of a batch cut over four chips; a constant decay is held once."""
    case = make_case(name, form, 64, dims=Dims(b=4, k=64, v=128), starts=(6,))
    topology = topologies.get_topology_desc(platform="tpu", topology_name=CHIPS["v5e"].topology)
    mesh = Mesh(np.array(topology.devices), ("data",))
    split, once = PartitionSpec("data"), PartitionSpec()
    specs = {n: once if x.shape[0] != 4 else split for n, x in case.arrays.items()}

    def run(arrays: dict, ids: jax.Array) -> tuple:
        return case.op.run(**arrays, segment_ids=ids)

    def gradients(arrays: dict, ids: jax.Array) -> tuple:
        sharded = jax.shard_map(run, mesh=mesh, in_specs=(specs, split), out_specs=(split, split))
        found, pull = jax.vjp(lambda arrays: sharded(arrays, ids), arrays)
        return found, pull(found)

    def place(
        x: np.ndarray, spec: PartitionSpec, dtype: type = jnp.float32
    ) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, dtype, sharding=NamedSharding(mesh, spec))

    arrays = {n: place(x, specs[n]) for n, x in case.arrays.items()}
    ids = place(case.segment_ids, split, jnp.int32)
    with unkept():
        text = jax.jit(gradients).trace(arrays, ids).lower().compile().as_text()
    assert "forward" in text and "backward" in text and "tpu_custom_call" in text
    assert ("all-reduce" in text) == (form == "constant")  # of the one gradient that is shared
