"""Every parameter says which of its axes mean what."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jaxlin.models.lm import build
from tests.models.tiny import KINDS, config

NAMES = {"embed", "heads", "kv_heads", "key", "value", "mlp", "vocab", "layers", "conv", "rank"}
EXPECTED = {
    "embed/embedding": ("vocab", "embed"),
    "unembed/kernel": ("embed", "vocab"),
    "mixer/q/kernel": ("layers", "embed", "heads"),
    "mixer/o/kernel": ("layers", "heads", "embed"),
    "mixer/q_conv/kernel": ("layers", "conv", "heads"),
    "mixer/A_log": ("layers", "heads"),
    "ffn/gate/kernel": ("layers", "embed", "mlp"),
    "ffn/up/kernel": ("layers", "embed", "mlp"),
    "ffn/down/kernel": ("layers", "mlp", "embed"),
}


def boxes(kind):
    module = build(config(**KINDS[kind]))
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 2), jnp.int32))
    leaves = jax.tree.leaves_with_path(
        shapes["params"], is_leaf=lambda a: isinstance(a, nn.LogicallyPartitioned)
    )
    return {"/".join(key.key for key in path): box for path, box in leaves}


@pytest.mark.parametrize("kind", KINDS)
def test_every_axis_has_a_known_name(kind):
    for path, box in boxes(kind).items():
        assert isinstance(box, nn.LogicallyPartitioned), path
        assert len(box.names) == box.value.ndim, path
        assert set(box.names) <= NAMES | {None}, path
        assert (box.names[0] == "layers") == path.startswith("blocks"), path
        if path.endswith(("kernel", "embedding")):
            assert set(box.names) - {"layers", None, "conv"}, path
        for end, names in EXPECTED.items():
            if path.endswith(end):
                assert box.names == names, path


def test_specs_can_be_read_from_the_variables():
    module = build(config())
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 2), jnp.int32))
    specs = nn.get_partition_spec(shapes)["params"]
    assert specs["unembed"]["kernel"] == jax.sharding.PartitionSpec("embed", "vocab")
    assert specs["blocks_0"]["layer_2"]["mixer"]["k"]["kernel"] == jax.sharding.PartitionSpec(
        "layers", "embed", "kv_heads"
    )
