"""TPU slices by generation and shape, under the names of Cloud TPU and GKE.

Sources: cloud.google.com/tpu/docs (v4, v5e, v5p, v6e; runtime versions) and
cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus (node labels, chips a node).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from jaxlin.config.errors import ConfigError, nearest


@dataclass(frozen=True)
class Generation:
    """`cores`: that an accelerator type counts for each chip. `flat`: slices are rectangles."""

    prefix: str
    cores: int
    label: str
    runtime: str
    flat: bool


GENERATIONS = {
    "v4": Generation("v4", 2, "tpu-v4-podslice", "v2-alpha-tpuv4", False),
    "v5e": Generation("v5litepod", 1, "tpu-v5-lite-podslice", "v2-alpha-tpuv5-lite", True),
    "v5p": Generation("v5p", 2, "tpu-v5p-slice", "v2-alpha-tpuv5", False),
    "v6e": Generation("v6e", 1, "tpu-v6e-slice", "v2-alpha-tpuv6e", True),
}
FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
SMALL_SOLID = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")
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
    def chips(self) -> int:
        return math.prod(map(int, self.shape.split("x")))

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
        return f"{self.generation}:{self.shape} ({self.hosts} hosts of {self.chips_each} chips)"


def parse(text: str) -> Topology:
    """GENERATION:SHAPE. Raises ConfigError with the slices that there are."""
    found = re.fullmatch(r"(\w+):(\d{1,4}(?:x\d{1,4}){1,2})", text)
    if not found:
        raise ConfigError(
            f"--topology: {text!r} is not GENERATION:SHAPE, such as v5e:4x4 or v5p:4x4x8"
        )
    generation, shape = found.groups()
    if generation not in GENERATIONS:
        raise ConfigError(f"--topology: no TPU {generation!r}{nearest(generation, GENERATIONS)}")
    if GENERATIONS[generation].flat:
        if shape not in FLAT:
            raise ConfigError(
                f"--topology: {generation} has no slice {shape}; it has {', '.join(FLAT)}"
            )
    elif not _solid(shape):
        raise ConfigError(
            f"--topology: {generation} has no slice {shape}; it has {', '.join(SMALL_SOLID)} and "
            f"AxBxC with A <= B <= C, multiples of 4, of at most {LARGEST_SOLID} chips"
        )
    return Topology(generation, shape)


def _solid(shape: str) -> bool:
    sides = [*map(int, shape.split("x"))]
    whole = len(sides) == 3 and sides == sorted(sides) and all(n and n % 4 == 0 for n in sides)
    return shape in SMALL_SOLID or (whole and math.prod(sides) <= LARGEST_SOLID)
