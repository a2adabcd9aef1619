"""What a TPU compiler puts on the wire: the formula's bytes, also of rounded states."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlin.parallel.census import census
from jaxlin.parallel.program import parse
from kernels_pallas.exchange import Exchange, exchange
from kernels_pallas.exchange.traffic import State, traffic
from kernels_pallas.monoid import Summary
from kernels_pallas.static.compiling import unkept
from tests.kernels_pallas.aot import aot

RANKS, H, K, V = 8, 4, 128, 128


@aot
@pytest.mark.parametrize("wire", [None, "bfloat16"])
@pytest.mark.parametrize("method", ["all_gather", "hierarchical", "log_step"])
def test_bytes_on_the_wire_are_those_of_the_formula(method: str, wire: str | None) -> None:
    how = Exchange(method, wire=wire)
    topology = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x4")
    mesh = Mesh(np.array(topology.devices), ("seq",), axis_types=(AxisType.Auto,))

    def body(m: jax.Array, e: jax.Array) -> jax.Array:
        return exchange(Summary(m[0], e[0]), ("seq",), how)[None]

    def both(m: jax.Array, e: jax.Array, weights: jax.Array) -> object:
        run = jax.shard_map(body, mesh=mesh, in_specs=P("seq"), out_specs=P("seq"))
        found, pull = jax.vjp(run, m, e)
        return found, pull(weights)

    def spec(*shape: int) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, P("seq"))
        return jax.ShapeDtypeStruct((RANKS, *shape), jnp.float32, sharding=sharding)

    state = spec(1, H, K, V)
    with unkept():
        compiled = jax.jit(both).lower(spec(1, H, K), state, state).compile()
    found = census(parse(compiled.as_text()), {"seq": RANKS})
    wanted = traffic(how, RANKS, State(H, K, V, "key"))
    assert sum(one.bytes * one.count for one in found) == wanted.total
    assert sum(one.count for one in found) == wanted.steps
