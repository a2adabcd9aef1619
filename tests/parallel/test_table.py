"""The parameter table and its sums."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from jaxlin.parallel import table
from jaxlin.train.optimizer import Group

KERNEL = jax.ShapeDtypeStruct((2, 4, 6), jnp.float32)
SCALE = jax.ShapeDtypeStruct((4,), jnp.bfloat16)
ROWS = [
    table.row(
        "a/kernel",
        KERNEL,
        ("layers", "embed", None),
        P(None, ("data", "fsdp"), None),
        Group("adamw", True),
    ),
    table.row("b/scale", SCALE, (None,), P(None), None),
]


def test_totals_are_exact():
    assert table.totals(ROWS) == {"parameters": 52, "trained": 48, "bytes": 4 * 48 + 2 * 4}
    big = table.row("w", jax.ShapeDtypeStruct((2**20, 2**14), jnp.float32), (), P(), None)
    assert table.totals([big])["parameters"] == 2**34  # past 32 bits


def test_the_text_is_aligned():
    assert table.render(ROWS).splitlines() == [
        "path      shape  axes            dtype     count  sharding       optimizer  decay",
        "a/kernel  2x4x6  layers,embed,-  float32      48  -,data+fsdp,-  adamw      yes",
        "b/scale   4      -               bfloat16      4  -              frozen     no",
    ]


def test_bytes_of_one_device():
    leaves = {"a": KERNEL, "b": SCALE}
    specs = {"a": P(None, ("data", "fsdp"), None), "b": P(None)}
    mesh = {"data": 2, "fsdp": 2, "tensor": 2}
    assert table.bytes_per_device(leaves, specs, mesh) == 4 * 48 // 4 + 2 * 4
    assert table.nbytes(leaves.values()) == 200
