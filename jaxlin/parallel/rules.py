"""Logical axis names -> mesh axes: one table decides how every array is split."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import NamedSharding, PartitionSpec

from jaxlin.config.errors import ConfigError, nearest
from jaxlin.config.run import BATCH_AXES, HEAD_AXES
from jaxlin.parallel.mesh import divisors
from jaxlin.parallel.paths import flatten

# None: every device holds the whole axis.
RULES: dict[str, tuple[str, ...] | None] = {
    "batch": BATCH_AXES,
    "time": ("seq",),
    "embed": ("fsdp",),
    "heads": HEAD_AXES,
    "kv_heads": HEAD_AXES,
    "mlp": ("tensor",),
    "vocab": ("tensor",),
    "key": None,
    "value": None,
    "layers": None,
    "conv": None,
    "rank": None,
}

Axes = tuple[str | None, ...]


def spec(axes: Axes, mesh: Mapping[str, int]) -> PartitionSpec:
    """How an array with these logical axes is split.

    Mesh axes of size 1 are left out, and so is one that an earlier axis of the array already takes.
    """
    taken: set[str] = set()
    parts = []
    for name in axes:
        split = [a for a in _rule(name) if mesh[a] > 1 and a not in taken]
        taken.update(split)
        parts.append(tuple(split) if len(split) > 1 else split[0] if split else None)
    return PartitionSpec(*parts)


def _rule(name: str | None) -> tuple[str, ...]:
    if name is not None and name not in RULES:
        raise ValueError(f"{name!r} is no logical axis{nearest(name, RULES)}")
    return (RULES[name] if name is not None else None) or ()


def specs(
    shapes: Mapping[str, tuple[int, ...]], axes: Mapping[str, Axes], mesh: Mapping[str, int]
) -> dict[str, PartitionSpec]:
    """Path -> spec. Raises ConfigError listing every dimension that its mesh axes do not divide."""
    found = {path: spec(axes[path], mesh) for path in shapes}
    problems: dict[Any, list[str]] = {}
    for path, shape in shapes.items():
        for size, name, part in zip(shape, axes[path], found[path], strict=True):
            names = part if isinstance(part, tuple) else (part,) if part else ()
            if size % math.prod(mesh[a] for a in names):
                problems.setdefault((names, name, size), []).append(path)
    if problems:
        raise ConfigError(
            "\n".join(
                _indivisible(names, name, size, paths, mesh)
                for (names, name, size), paths in problems.items()
            )
        )
    return found


def _indivisible(
    names: tuple[str, ...], axis: str, size: int, paths: list[str], mesh: Mapping[str, int]
) -> str:
    sizes = " * ".join(f"mesh.{name}={mesh[name]}" for name in names)
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return (
        f"{sizes} does not divide the axis {axis!r} of {paths[0]}{more}, which is {size}; "
        f"use a size among {divisors(size)}"
    )


def logical_axes(variables: Any) -> dict[str, Axes]:
    """Path -> logical axes of boxed variables, as `model.init` gives them."""
    shapes = flatten(nn.meta.unbox(variables))
    is_spec = lambda leaf: isinstance(leaf, PartitionSpec)  # noqa: E731
    names, _ = jax.tree.flatten(nn.get_partition_spec(variables), is_leaf=is_spec)
    return {
        path: tuple(name) + (None,) * (len(leaf.shape) - len(name))
        for (path, leaf), name in zip(shapes.items(), names, strict=True)
    }


def batch_sharding(mesh: jax.sharding.Mesh) -> NamedSharding:
    """Of an array [b, t]."""
    return NamedSharding(mesh, spec(("batch", "time"), mesh.shape))
