"""Functions of whole sequences, run by each device on its slice of time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.sharding import PartitionSpec
from jaxtyping import Array

from jaxlin.config.run import BATCH_AXES, HEAD_AXES, TIME_AXES
from kernels_pallas.chip import automatic_axes

MESH_AXES = {"b": BATCH_AXES, "t": TIME_AXES, "h": HEAD_AXES, "d": HEAD_AXES}


def time_axes(t: int) -> tuple[str, ...]:
    """Axes of the current mesh that a sequence of t tokens is split over.

    A single token is on every device. Raises ValueError where they do not divide t.
    """
    axes = tuple(axis for axis in TIME_AXES if axis in automatic_axes())
    if t == 1 or not axes:
        return ()
    sizes = jax.sharding.get_abstract_mesh().shape
    for axis in axes:
        if t % sizes[axis]:
            below = t - t % sizes[axis]
            near = " or ".join(str(n) for n in (below, below + sizes[axis]) if n)
            raise ValueError(
                f"a sequence of {t} tokens cannot be split evenly over the {sizes[axis]} devices "
                f"of the mesh axis {axis!r}; nearest: {near}"
            )
    return axes


def time_slices(t: int) -> int:
    """Devices of the current mesh that a sequence of t tokens is split over."""
    sizes = jax.sharding.get_abstract_mesh().shape
    return math.prod(sizes[axis] for axis in time_axes(t))


def batch_slices() -> int:
    """Devices of the current mesh that a batch is split over."""
    sizes = jax.sharding.get_abstract_mesh().shape
    return math.prod(sizes[axis] for axis in BATCH_AXES if axis in automatic_axes())


def on_slices(
    function: Callable[..., Array],
    given: Mapping[str, tuple[str, Any]],
    out: str,
    check_vma: bool = True,
) -> Array:
    """`function(**arrays)` inside `jax.shard_map`: each device has its slices.

    given: argument -> (axis letters, array or None); letters b, t, h or d are split over the mesh
    as batch, time and heads are, any other is whole. out: letters of the result. check_vma: of
    `jax.shard_map`.
    """
    free = automatic_axes()

    def spec(letters: str) -> PartitionSpec:
        parts = [tuple(a for a in MESH_AXES.get(x, ()) if a in free) or None for x in letters]
        return PartitionSpec(*parts)

    present = {name: (letters, x) for name, (letters, x) in given.items() if x is not None}
    return jax.shard_map(
        lambda arrays: function(**arrays),
        in_specs=({name: spec(letters) for name, (letters, _) in present.items()},),
        out_specs=spec(out),
        check_vma=check_vma,
    )({name: x for name, (_, x) in present.items()})
