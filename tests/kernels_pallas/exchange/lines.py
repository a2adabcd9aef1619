"""Meshes of forced CPU devices, and functions run on the slices that they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

LINE = ("seq",)
TWO = ("slow", "fast")


def mesh_of(axes: tuple[str, ...], ranks: int) -> Mesh:
    """`ranks` devices along the axes: all along one, or 2 x ranks / 2."""
    shape = (ranks,) if len(axes) == 1 else (2, ranks // 2)
    devices = np.array(jax.devices()[:ranks]).reshape(shape)
    return Mesh(devices, axes, axis_types=(AxisType.Auto,) * len(axes))


def on_line(function: Callable[..., Any], mesh: Mesh, specs: Any, out: Any = None) -> Any:
    """`shard_map` over the mesh; the result is split along its first axis if not said otherwise."""
    out = P(mesh.axis_names) if out is None else out
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=out)


def collectives(text: str) -> dict[str, int]:
    """How often each collective stands in a compiled program."""
    kinds = ("all-gather", "reduce-scatter", "all-reduce", "collective-permute", "all-to-all")
    found = {kind: text.count(f" {kind}(") + text.count(f" {kind}-start(") for kind in kinds}
    return {kind: n for kind, n in found.items() if n}
