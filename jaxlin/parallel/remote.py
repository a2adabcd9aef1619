"""Kernels that send between devices by themselves, known by the names that they are given.

To the compiler they are custom calls like any other: a schedule does not say that, or where, they
send. All-Scan (`kernels_pallas.exchange.all_scan`) names its kernels all_scan_BLOCKS_AXES, and what
a device receives is their result.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from jaxlin.parallel.groups import Group
from jaxlin.parallel.program import op_name
from kernels_pallas.static.hlo import Instruction

SCAN = "all-scan"


class Scan(NamedTuple):
    """One state along the devices of `axes`, in so many blocks."""

    blocks: int
    axes: tuple[str, ...]

    def group(self, mesh: Mapping[str, int]) -> Group:
        return Group("+".join(self.axes), math.prod(mesh[axis] for axis in self.axes))


def scan_of(one: Instruction) -> Scan | None:
    """The scan that an instruction of the schedule is."""
    found = re.search(r"\ball_scan_(\d+)_([A-Za-z]\w*)", op_name(one)) if one.kernel else None
    return Scan(int(found[1]), tuple(found[2].split("_"))) if found else None
