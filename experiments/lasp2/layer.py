"""The function of a point: one layer's op inside `shard_map`, forward and backward at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from experiments.lasp2.points import HEADS, SIZE, Point, how
from kernels_pallas.delta_rule.across import delta_rule_across
from kernels_pallas.exchange import softmax_attention_across
from kernels_pallas.linear_attention.across import linear_attention_across

SEQ = "seq"
TIME = PartitionSpec(None, SEQ)


def lower(point: Point, mesh: jax.sharding.Mesh, torus: tuple[int, ...]) -> jax.stages.Lowered:
    """(inputs, cotangent of the outputs) -> (outputs, cotangents of the inputs), lowered for TPUs.

    One program has both passes, as a step of training has: nothing that the first one received
    needs to be received again.
    """

    def body(inputs: dict[str, Any], d_out: jax.Array) -> Any:
        out, back = jax.vjp(_op(point, torus), inputs)
        return out, back(d_out)

    run = jax.shard_map(body, mesh=mesh, in_specs=TIME, out_specs=TIME, check_vma=False)
    inputs = shapes(point, mesh)
    return jax.jit(run).trace(inputs, inputs["q"]).lower(lowering_platforms=("tpu",))


def _op(point: Point, torus: tuple[int, ...]) -> Callable[[dict[str, Any]], jax.Array]:
    """Inputs of this device's slice -> outputs. The state after the last token is not asked for."""
    if point.layer == "softmax":
        return lambda x: softmax_attention_across(**x, axis=SEQ, method=point.method)
    across = delta_rule_across if point.layer == "delta" else linear_attention_across
    options: dict[str, Any] = {"axis": SEQ, "how": how(point, torus)}
    options |= {"implementation": point.implementation}
    if point.transition == "shared":  # RetNet's numbers; which they are changes nothing here
        options["log_decay"] = jnp.log1p(-jnp.exp2(-5.0 - jnp.arange(HEADS)))
    return lambda x: across(**x, **options)[0]


def shapes(point: Point, mesh: jax.sharding.Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """The op's inputs, of the whole sequence."""
    time, place = point.tokens * mesh.shape[SEQ], NamedSharding(mesh, TIME)

    def of(*sizes: int, dtype: Any = jnp.bfloat16) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, time, *sizes), dtype, sharding=place)

    heads = point.kv_heads if point.layer == "softmax" else HEADS
    found = {"q": of(HEADS, SIZE), "k": of(heads, SIZE), "v": of(heads, SIZE)}
    if point.layer == "delta":
        found["beta"] = of(HEADS)
    if point.layer != "softmax" and point.transition != "shared":
        found["log_decay"] = of(HEADS, dtype=jnp.float32)
    return found


def held(lowered: jax.stages.Lowered, ranks: int) -> int:
    """Bytes of inputs and outputs on one device."""
    arrays = [*jax.tree.leaves(lowered.in_avals), *jax.tree.leaves(lowered.out_info)]
    return sum(x.size * x.dtype.itemsize for x in arrays) // ranks
