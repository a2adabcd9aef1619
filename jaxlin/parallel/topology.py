"""TPU slices by name, such as v5p:8x8x8, and a mesh over one that is not here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from jaxlin.config.errors import ConfigError
from jaxlin.config.run import Mesh
from jaxlin.config.slices import parse
from jaxlin.parallel.mesh import make, sizes
from kernels_pallas.hardware import CHIPS, Hardware
from kernels_pallas.static.compiling import LibtpuMissing, require_libtpu


class Slice(NamedTuple):
    """A named slice: its chip, the sizes of its torus, and how many devices JAX sees."""

    name: str
    chip: Hardware
    torus: tuple[int, ...]

    @property
    def devices(self) -> int:
        return math.prod(self.torus) * self.chip.devices

    @property
    def dimensions(self) -> tuple[int, ...]:
        """What mesh axes are made of: the torus, and the devices of a chip."""
        extra = (self.chip.devices,) if self.chip.devices > 1 else ()
        return (*(size for size in self.torus if size > 1), *extra)


def named(text: str) -> Slice:
    """The slice of a name. Raises ConfigError that lists what there is."""
    found, chips = parse(text), {chip.name: chip for chip in CHIPS.values()}
    if found.generation not in chips:
        raise ConfigError(
            f"--topology: {found.name}: no figures of {found.generation} are here to plan with; "
            f"generations that have them: {', '.join(chips)}"
        )
    return Slice(found.name, chips[found.generation], found.torus)


def devices(where: Slice) -> list[Any]:
    """The devices of a slice, to compile for and not to run on. Raises ConfigError."""
    try:
        require_libtpu()
        return list(topologies.get_topology_desc(platform="tpu", topology_name=where.name).devices)
    except LibtpuMissing as error:
        raise ConfigError(str(error)) from error


def mesh_on(cfg: Mesh, where: Slice) -> jax.sharding.Mesh:
    """The mesh of a config over a slice. Raises ConfigError where the torus cannot form it."""
    found = sizes(cfg, where.devices)
    try:
        return make(cfg, devices(where))
    except (NotImplementedError, ValueError, AssertionError) as error:
        raise ConfigError(_cannot_form(found, where)) from error


def _cannot_form(found: Mapping[str, int], where: Slice) -> str:
    shape = " * ".join(f"{axis}={size}" for axis, size in found.items() if size > 1)
    torus = "x".join(map(str, where.torus))
    valid = axis_sizes(where)
    wrong = [f"mesh.{axis}={size}" for axis, size in found.items() if size not in valid]
    what = (
        f"{' and '.join(wrong)} {'are' if len(wrong) > 1 else 'is'} no product of these"
        if wrong
        else "its axes cannot share these dimensions out"
    )
    example = ""
    if wrong:
        axis, size = [(a, n) for a, n in found.items() if n not in valid][-1]
        near = min(valid, key=lambda n: abs(math.log(n / size)))
        example = f", for example mesh.{axis}={near}"
    return (
        f"mesh: {shape} cannot be formed on {where.name}: the torus has the dimensions {torus}"
        f"{' and two devices a chip' if where.chip.devices > 1 else ''}, and {what}; every axis is "
        f"a product of dimensions of its own: {', '.join(map(str, valid))}{example}"
    )


def axis_sizes(where: Slice) -> list[int]:
    """Sizes that a mesh axis can have: products of dimensions of the torus."""
    found = {1}
    for size in where.dimensions:
        found |= {n * size for n in found}
    return sorted(found)


class Span(NamedTuple):
    """Where a mesh axis runs on the torus: sizes of the dimensions, the slowest varying first."""

    ranks: int
    torus: tuple[int, ...]
    whole: bool  # it takes all devices


def spans(mesh: jax.sharding.Mesh, where: Slice) -> dict[str, Span]:
    """Mesh axis -> its place on the torus."""
    found = {}
    for number, (axis, size) in enumerate(mesh.shape.items()):
        line = mesh.devices[tuple(slice(None) if i == number else 0 for i in range(4))]
        torus = _dimensions([_place(d) for d in line])
        torus = torus if math.prod(torus) == size else (size,)  # it runs across the dimensions
        found[axis] = Span(size, torus, size == where.devices)
    return found


def _place(device: Any) -> tuple[int, ...]:
    return (*device.coords, getattr(device, "core_on_chip", 0) or 0)


def _dimensions(places: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Extents of the dimensions that vary, the slowest first."""
    varying = []
    for i in range(len(places[0])):
        values = [place[i] for place in places]
        extent = len(set(values))
        if extent > 1:
            period = next(n for n, value in enumerate(values) if value != values[0])
            varying.append((period, extent))
    return tuple(extent for _, extent in sorted(varying, reverse=True)) or (1,)
