"""Logical axes become mesh axes by one table."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from jaxlin.config.errors import ConfigError
from jaxlin.config.run import Mesh
from jaxlin.parallel.mesh import make
from jaxlin.parallel.paths import flatten, map_paths
from jaxlin.parallel.rules import batch_sharding, logical_axes, spec, specs

FULL = {"data": 2, "fsdp": 2, "seq": 1, "tensor": 2}


@pytest.mark.parametrize(
    "axes, mesh, found",
    [
        (("embed", "heads"), FULL, P("fsdp", "tensor")),
        (("layers", "mlp", "embed"), FULL, P(None, "tensor", "fsdp")),
        (("vocab", "embed"), FULL | {"tensor": 1}, P(None, "fsdp")),
        (("batch", "time"), FULL, P(("data", "fsdp"), None)),
        (("batch", "time"), FULL | {"fsdp": 1, "seq": 2}, P("data", "seq")),
        (("batch", "time", "embed"), FULL, P(("data", "fsdp"), None, None)),  # fsdp is taken
        (("heads", "kv_heads"), FULL, P("tensor", None)),
        ((None, "conv", "key"), FULL, P(None, None, None)),
        ((), FULL, P()),
    ],
)
def test_spec(axes, mesh, found):
    assert spec(axes, mesh) == found


def test_an_unknown_axis_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="'hedas' is no logical axis; did you mean 'heads'"):
        spec(("hedas",), FULL)


def test_every_dimension_that_is_not_divided_is_named():
    shapes = {"q/kernel": (48, 36), "v/kernel": (48, 36), "embed": (258, 48)}
    axes = {
        "q/kernel": ("embed", "heads"),
        "v/kernel": ("embed", "heads"),
        "embed": ("vocab", "embed"),
    }
    mesh = FULL | {"fsdp": 5, "tensor": 4}
    with pytest.raises(ConfigError) as error:
        specs(shapes, axes, mesh)
    lines = str(error.value).splitlines()
    assert lines == [
        "mesh.fsdp=5 does not divide the axis 'embed' of q/kernel and 2 more, which is 48; use a "
        "size among 1, 2, 3, 4, 6, 8, 12, 16, 24, 48",
        "mesh.tensor=4 does not divide the axis 'vocab' of embed, which is 258; use a size among "
        "1, 2, 3, 6, 43, 86, 129, 258",
    ]
    assert specs(shapes, axes, FULL)["embed"] == P("tensor", "fsdp")


def test_logical_axes_of_boxed_parameters():
    class Model(nn.Module):
        @nn.compact
        def __call__(self):
            init = nn.with_logical_partitioning(nn.initializers.zeros, ("embed", "mlp"))
            self.param("kernel", init, (4, 6), jnp.float32)
            self.param("plain", nn.initializers.zeros, (3, 5), jnp.float32)

    boxed = jax.eval_shape(lambda: Model().init(jax.random.key(0)))["params"]
    assert logical_axes(boxed) == {"kernel": ("embed", "mlp"), "plain": (None, None)}


def test_a_batch_is_split_over_data_and_fsdp():
    mesh = make(Mesh(data=2, fsdp=2, tensor=2))
    placed = jax.device_put(jnp.zeros((8, 4)), batch_sharding(mesh))
    assert {s.data.shape for s in placed.addressable_shards} == {(2, 4)}


def test_paths():
    tree = {"a": [1, {"b": 2}], "c": None, "d": jax.tree_util.Partial(int)}
    assert flatten(tree) == {"a/0": 1, "a/1/b": 2}
    assert map_paths(lambda path, leaf: f"{path}={leaf}", tree)["a"] == ["a/0=1", {"b": "a/1/b=2"}]
