"""TPU slices by generation and shape, such as v5e:4x4, under the names of Cloud TPU and GKE.

Sources: cloud.google.com/tpu/docs (v4, v5e, v5p, v6e, tpu7x; runtime versions) and
cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus and tpu-ironwood (node labels, chips a
node).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from jaxlin.config.errors import ConfigError, nearest


@dataclass(frozen=True)
class Generation:
    """`cores`: that an accelerator type counts for each chip. `devices`: that JAX sees of each.
    `runtime`: of the hosts of a slice (None: Cloud TPU makes none, GKE does). `flat`: slices are
    rectangles."""

    prefix: str
    cores: int
    devices: int
    label: str
    runtime: str | None
    flat: bool


GENERATIONS = {
    "v4": Generation("v4", 2, 1, "tpu-v4-podslice", "v2-alpha-tpuv4", False),
    "v5e": Generation("v5litepod", 1, 1, "tpu-v5-lite-podslice", "v2-alpha-tpuv5-lite", True),
    "v5p": Generation("v5p", 2, 1, "tpu-v5p-slice", "v2-alpha-tpuv5", False),
    "v6e": Generation("v6e", 1, 1, "tpu-v6e-slice", "v2-alpha-tpuv6e", True),
    "tpu7x": Generation("tpu7x", 2, 2, "tpu7x", None, False),
}
OTHER_NAMES = {"v5litepod": "v5e", "v5": "v5p", "v6": "v6e", "v7": "tpu7x", "tpu7": "tpu7x"}
FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
SMALL_SOLID = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")
CUBES = ("4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16", "16x16x16")
LARGEST_SOLID = 8960  # chips of a v5p pod
ON_A_HOST = 4  # chips, in slices of more than one host


@dataclass(frozen=True)
class Topology:
    """A slice, such as v5e:4x4."""

    generation: str
    shape: str

    @property
    def kind(self) -> Generation:
        return GENERATIONS[self.generation]

    @property
    def name(self) -> str:
        return f"{self.generation}:{self.shape}"

    @property
    def torus(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return tuple(map(int, self.shape.split("x")))

    @property
    def chips(self) -> int:
        return math.prod(self.torus)

    @property
    def devices(self) -> int:
        """As JAX counts them."""
        return self.chips * self.kind.devices

    @property
    def accelerator(self) -> str:
        """Name for Cloud TPU: v5litepod-16."""
        return f"{self.kind.prefix}-{self.chips * self.kind.cores}"

    @property
    def chips_each(self) -> int:
        """Chips of a host."""
        return self.chips if self.kind.flat and self.chips <= 8 else ON_A_HOST

    @property
    def hosts(self) -> int:
        return self.chips // self.chips_each

    def __str__(self) -> str:
        return f"{self.name} ({self.hosts} hosts of {self.chips_each} chips)"


def parse(text: str) -> Topology:
    """GENERATION:SHAPE. Raises ConfigError with the slices that there are."""
    found = re.fullmatch(r"(\w+):(\d{1,4}(?:x\d{1,4}){1,2})", text.strip())
    if not found:
        names = ", ".join(GENERATIONS)
        raise ConfigError(
            f"--topology: {text!r} is not GENERATION:SHAPE, such as v5e:4x4 or v5p:4x4x8"
            f"{_of_accelerator(text)}; generations: {names}"
        )
    generation, shape = found.groups()
    if generation not in GENERATIONS:
        known = f"; did you mean {OTHER_NAMES[generation]!r}?" if generation in OTHER_NAMES else ""
        raise ConfigError(
            f"--topology: no TPU {generation!r}{known or nearest(generation, GENERATIONS)}"
        )
    flat = GENERATIONS[generation].flat
    if not (shape in FLAT if flat else _solid(shape)):
        close = f"{generation}:{_close(shape, flat)}"
        raise ConfigError(
            f"--topology: {generation} has no slice {shape}; did you mean {close}? It has "
            f"{_listed(generation)}"
        )
    return Topology(generation, shape)


def _of_accelerator(text: str) -> str:
    """`; did you mean v5e:4x4?` for the type of an accelerator, such as v5litepod-16, or a
    generation with a number of chips; else nothing."""
    found = re.fullmatch(r"(\w+)([-:])(\d{1,5})", text.strip())
    if not found:
        return ""
    prefix, joint, count = found.groups()
    generation = prefix if prefix in GENERATIONS else OTHER_NAMES.get(prefix, "")
    if not generation:
        return ""
    cores = GENERATIONS[generation].cores if joint == "-" else 1
    flat = GENERATIONS[generation].flat
    shapes = FLAT if flat else (*SMALL_SOLID, *CUBES)
    wanted = max(1, int(count) // cores)
    near = min(shapes, key=lambda shape: abs(math.log(Topology(generation, shape).chips / wanted)))
    return f"; did you mean {generation}:{near}?"


def _listed(generation: str) -> str:
    """The slices of a generation, with their devices."""
    flat = GENERATIONS[generation].flat
    shapes = (Topology(generation, shape) for shape in (FLAT if flat else SMALL_SOLID))
    few = ", ".join(f"{where.shape} ({where.devices})" for where in shapes)
    more = f" and AxBxC with A <= B <= C, multiples of 4, of at most {LARGEST_SOLID} chips"
    return f"{few}{'' if flat else more}; in brackets: devices"


def _solid(shape: str) -> bool:
    sides = [*map(int, shape.split("x"))]
    whole = len(sides) == 3 and sides == sorted(sides) and all(n and n % 4 == 0 for n in sides)
    return shape in SMALL_SOLID or (whole and math.prod(sides) <= LARGEST_SOLID)


def _close(shape: str, flat: bool) -> str:
    """The slice whose sides are nearest."""
    asked = sorted(max(1, int(n)) for n in shape.split("x"))
    asked = [1] * (3 - len(asked)) + asked
    solid = "x".join(str(min(16, max(4, 4 * round(n / 4)))) for n in asked)

    def apart(other: str) -> float:
        sides = sorted(map(int, other.split("x")))
        sides = [1] * (3 - len(sides)) + sides
        return sum(abs(math.log(a / b)) for a, b in zip(asked, sides, strict=True))

    return min(FLAT if flat else (*SMALL_SOLID, solid), key=apart)
