"""The device mesh: its sizes are settled and checked before anything is traced."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
from jax.sharding import AxisType

from jaxlin.config.errors import ConfigError
from jaxlin.config.pattern import resolve
from jaxlin.config.run import Mesh, RunConfig

AXES = ("data", "fsdp", "seq", "tensor")
HEAD_FIELDS = ("heads", "kv_heads", "value_heads")


def sizes(cfg: Mesh, devices: int) -> dict[str, int]:
    """Axis -> size on this many devices; data=-1 is filled in. Raises ConfigError."""
    found = {axis: getattr(cfg, axis) for axis in AXES}
    if cfg.data != -1 and cfg.data < 1:
        raise ConfigError(
            f"mesh.data: {cfg.data} is neither -1 (what the others leave) nor at least 1"
        )
    others = math.prod(size for axis, size in found.items() if axis != "data")
    if cfg.data == -1:
        found["data"] = max(1, devices // others)
    product = math.prod(found.values())
    if product == devices or (cfg.allow_unused_devices and product < devices):
        return found
    raise ConfigError(_wrong_product(found, product, others, devices))


def _wrong_product(found: Mapping[str, int], product: int, others: int, devices: int) -> str:
    shape = " * ".join(f"{axis}={size}" for axis, size in found.items())
    text = f"mesh: {shape} is {product} devices, there are {devices}; "
    if devices == 1:
        return text + (
            "one device has no axes to split: leave them at 1, or start more, such as "
            f"`jaxlin launch local -n 1 --devices-per-process {product} PRESET ...` on CPUs"
        )
    if devices % others == 0:
        return text + f"use mesh.data={devices // others} (or -1)"
    below = max(n for n in range(1, devices + 1) if devices % n == 0 and n <= others)
    text += f"fsdp * seq * tensor = {others} must divide {devices}, for example {below}"
    if product < devices:
        text += "; or set mesh.allow_unused_devices=true"
    return text


def make(cfg: Mesh, devices: Sequence[Any] | None = None) -> jax.sharding.Mesh:
    """The mesh over the given devices (all by default). Raises ConfigError."""
    devices = list(jax.devices() if devices is None else devices)
    found = sizes(cfg, len(devices))
    if cfg.exchange.method == "all_scan" and found["seq"] > 1 and devices[0].platform != "tpu":
        raise ConfigError(
            "mesh.exchange.method: all_scan sends by remote DMA between TPUs, found devices of "
            f"platform {devices[0].platform!r}; use auto, all_gather, hierarchical, log_step or "
            "ring here, or mesh.seq=1"
        )
    shape = tuple(found.values())
    return jax.make_mesh(
        shape,
        AXES,
        axis_types=(AxisType.Auto,) * len(AXES),
        devices=devices[: math.prod(shape)],
    )


def tracing_on(mesh: jax.sharding.Mesh | None) -> AbstractContextManager[Any]:
    """What is traced inside knows the mesh, so that kernels run on each device's part."""
    return nullcontext() if mesh is None else jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def check(cfg: RunConfig, mesh: Mapping[str, int]) -> None:
    """Raises ConfigError with every way in which batch, context or heads do not fit the mesh."""
    problems = _batch_problems(cfg, mesh) + _head_problems(cfg, mesh["tensor"])
    if problems:
        raise ConfigError("\n".join(problems))


def _batch_problems(cfg: RunConfig, mesh: Mapping[str, int]) -> list[str]:
    shards = mesh["data"] * mesh["fsdp"]
    unit = shards * cfg.accumulate
    problems = []
    if cfg.batch % unit:
        problems.append(
            f"batch: {cfg.batch} is no multiple of {unit} (mesh data {mesh['data']} * fsdp "
            f"{mesh['fsdp']} * accumulate {cfg.accumulate}); nearest: {multiples(cfg.batch, unit)}"
        )
    if cfg.context % mesh["seq"]:
        near = multiples(cfg.context, mesh["seq"])
        problems.append(
            f"context: {cfg.context} is no multiple of mesh.seq={mesh['seq']}; nearest: {near}"
        )
    return problems


def _head_problems(cfg: RunConfig, tensor: int) -> list[str]:
    """Heads are split over the tensor axis whole."""
    found = {}
    for mixer in resolve(cfg.model):
        for field in HEAD_FIELDS:
            count = getattr(mixer, field, None)
            if count is not None and count % tensor:
                found[mixer.kind, field] = count
    return [
        f"mesh.tensor: {tensor} does not divide {field}={count} of mixer {kind}; "
        f"use a tensor size among {divisors(count)}, or {field}={multiples(count, tensor)}"
        for (kind, field), count in found.items()
    ]


def multiples(value: int, unit: int) -> str:
    """The multiples of unit next to value: '6 or 9'."""
    below = value - value % unit
    return " or ".join(str(n) for n in (below, below + unit) if n)


def divisors(value: int) -> str:
    """'1, 2, 3, 6', at most the sixteen smallest."""
    return ", ".join(str(n) for n in [n for n in range(1, value + 1) if value % n == 0][:16])
