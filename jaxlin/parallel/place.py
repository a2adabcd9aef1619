"""Host arrays onto the mesh: each process makes and places only its own rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec


def local_rows(sharding: NamedSharding, rows: int) -> slice:
    """The smallest range of `rows` that holds all rows of this process's devices."""
    along = NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[:1]))
    return span(along.addressable_devices_indices_map((rows,)).values(), rows)


def span(indices: Iterable[Any], rows: int) -> slice:
    """The smallest range that holds the rows of all indices, as shardings give them."""
    ranges = [index[0].indices(rows) for index in indices]
    return slice(min(r[0] for r in ranges), max(r[1] for r in ranges))


def place(batch: Any, sharding: NamedSharding, rows: slice, total: int) -> Any:
    """The global batch of `total` rows, from a tree of arrays [b, t] that hold rows `rows`."""

    def put(local: np.ndarray) -> jax.Array:
        shape, parts = (total, *local.shape[1:]), []
        indices: Any = sharding.addressable_devices_indices_map(shape)
        for device, index in indices.items():
            begin, end, _ = index[0].indices(total)
            part = local[begin - rows.start : end - rows.start, *index[1:]]
            parts.append(jax.device_put(part, device))
        return jax.make_array_from_single_device_arrays(shape, sharding, parts)

    return jax.tree.map(put, batch)
