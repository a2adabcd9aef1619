"""The chip that a computation is traced for, and who splits it over several."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jax.sharding import AxisType


class Chip(NamedTuple):
    """platform: "cpu", "gpu" or "tpu"; kind: its device kind, such as "TPU v5 lite"."""

    platform: str
    kind: str


def target() -> Chip:
    """The abstract device of the current mesh, else the first device of the default backend.

    A mesh is current inside `jax.set_mesh` and `shard_map`, and inside `use_abstract_mesh` of
    `AbstractMesh((), (), abstract_device=AbstractDevice(...))`, which compiles for a chip that is
    not here. `jit` alone does not tell which devices it will run on.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    if device is not None and device.platform is not None:
        return Chip(device.platform, device.device_kind)
    first = jax.devices()[0]
    return Chip(first.platform, first.device_kind)


def automatic_axes() -> tuple[str, ...]:
    """Axes of the current mesh, of more than one device, that the compiler splits arrays over.

    Inside `shard_map` there are none.
    """
    mesh = jax.sharding.get_abstract_mesh()
    axes = zip(mesh.axis_names, mesh.axis_sizes, mesh.axis_types, strict=True)
    return tuple(name for name, size, kind in axes if size > 1 and kind != AxisType.Manual)


def explicit_axes() -> tuple[str, ...]:
    """Axes of the current mesh that are of type Explicit: there arrays are split by their types."""
    mesh = jax.sharding.get_abstract_mesh()
    axes = zip(mesh.axis_names, mesh.axis_types, strict=True)
    return tuple(name for name, kind in axes if kind == AxisType.Explicit)
