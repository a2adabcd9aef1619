"""Work of an op by its definition, and how fast a chip could do it at best."""

from __future__ import annotations

from typing import NamedTuple

from cases import CONSTANT, OPS, Shape


class Chip(NamedTuple):
    """Peaks of a chip: dense bfloat16 operations and bytes of memory, a second."""

    flops: float
    bytes: float


# By a part of the name that the driver gives; the makers' data sheets, dense figures.
CHIPS = {
    "GB200": Chip(2500e12, 8.0e12),
    "B200": Chip(2250e12, 8.0e12),
    "H200": Chip(989e12, 4.8e12),
    "H100 PCIe": Chip(756e12, 2.0e12),
    "H100": Chip(989e12, 3.35e12),
    "A100": Chip(312e12, 2.0e12),
}


def chip(name: str) -> Chip | None:
    """The peaks of a chip, or None for one that is not in the table."""
    return next((peaks for part, peaks in CHIPS.items() if part in name), None)


def flops(op: str, shape: Shape, both: bool) -> float:
    """Operations of the token recurrence (a chunked form does more), or of causal attention.

    A backward pass is two forward passes, that of attention two and a half.
    """
    b, t, h, k, v = shape
    if op == "softmax":
        return b * t * h * t * (k + v) * (3.5 if both else 1.0)
    forward = 2 * b * t * h * k * v * (3 if "beta" in OPS[op] else 2)
    return forward * (3.0 if both else 1.0)


def moved(op: str, shape: Shape, both: bool, itemsize: int) -> float:
    """Bytes of inputs and outputs, each moved once; `both`: with all gradients, inputs twice."""
    b, t, h, k, v = shape
    inputs = b * t * h * (2 * k + v) * itemsize
    for name, axes in OPS[op].items():
        if name != CONSTANT.get(op):
            width = k if axes.endswith("k") else 1
            inputs += b * t * h * width * (4 if name == "log_decay" else itemsize)
    outputs = b * t * h * v * itemsize
    return 3 * inputs + 2 * outputs if both else inputs + outputs


def share(peaks: Chip | None, flops: float, moved: float, ms: float, dtype: str) -> float | None:
    """The least time that the chip needs, by the time that was measured."""
    if peaks is None:
        return None
    rate = peaks.flops if dtype == "bfloat16" else peaks.flops / 2  # float32 as TF32
    return 1e3 * max(flops / rate, moved / peaks.bytes) / ms
