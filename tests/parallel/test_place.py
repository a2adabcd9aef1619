"""Batches on the mesh: every device gets its own rows."""

import jax
import numpy as np
import pytest

from jaxlin.config.run import Mesh
from jaxlin.parallel.mesh import make
from jaxlin.parallel.place import local_rows, place, span
from jaxlin.parallel.rules import batch_sharding

HOST = {"tokens": np.arange(32).reshape(8, 4)}


@pytest.mark.parametrize(
    "sizes", [dict(data=8), dict(data=2, fsdp=2, tensor=2), dict(data=2, seq=4), dict(tensor=8)]
)
def test_the_array_is_the_batch_and_each_shard_is_in_place(sizes):
    sharding = batch_sharding(make(Mesh(**({"data": 1} | sizes))))
    rows = local_rows(sharding, 8)
    assert rows == slice(0, 8)
    (array,) = place(HOST, sharding, rows, 8).values()
    np.testing.assert_array_equal(array, HOST["tokens"])
    assert array.sharding == sharding
    for shard in array.addressable_shards:
        np.testing.assert_array_equal(shard.data, HOST["tokens"][shard.index])


def test_rows_of_one_process_of_several():
    """The rows of the last four of eight devices, as when the others belong elsewhere."""
    whole = batch_sharding(make(Mesh())).addressable_devices_indices_map((16, 4))
    last = {device.id for device in jax.devices()[4:]}
    assert span([i for d, i in whole.items() if d.id in last], 16) == slice(8, 16)
