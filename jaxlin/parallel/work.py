"""What one device computes and moves in a step, counted in its compiled program.

Loops count as often as they run, unlike in XLA's own cost analysis. Kernels (custom calls) show no
products here: `products` counts those.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxlin.parallel.program import Body, Piece, Program, cycles, pieces, runs
from kernels_pallas.static.hlo import FREE, Instruction

CONTROL = FREE | {"while", "conditional", "call", "after-all", "partition-id", "iota", "broadcast"}


class Work(NamedTuple):
    """Of one device and step."""

    flops: int  # of matrix products outside of kernels; multiply and add count one each
    hbm: int  # bytes to and from HBM
    cycles: int  # that the compiler estimates, not of kernels; 0 in a schedule without code


def work(program: Program) -> Work:
    """Sums over the schedule."""
    flops = hbm = estimated = 0
    inside: dict[str, int] = {}
    for run in runs(program):
        for one in run.body.values():
            flops += run.times * _flops(one, run.body, program.parts, inside)
            hbm += run.times * moved(one, run.body, program.parts)
            estimated += run.times * cycles(one)
    return Work(flops, hbm, estimated)


def _flops(one: Instruction, body: Body, parts: Mapping[str, Body], inside: dict[str, int]) -> int:
    """FLOPs of an instruction, and of the fused computation that it calls."""
    if one.opcode in ("dot", "convolution"):
        return product_flops(one, body)
    if one.opcode != "fusion" or one.calls is None or one.calls not in parts:
        return 0
    if one.calls not in inside:
        called = parts[one.calls]
        inside[one.calls] = sum(_flops(i, called, parts, inside) for i in called.values())
    return inside[one.calls]


def product_flops(one: Instruction, body: Body) -> int:
    """2 * elements of the result * terms of each.

    Products of batches are written as convolutions whose window meets one element of the batch:
    only taps that meet an element count.
    """
    result = pieces(one.shape)[0]
    left, right = (_piece(body, name) for name in one.operands[:2])
    if one.opcode == "dot":
        match = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", one.rest)
        dims = [int(d) for d in match[1].split(",") if d] if match else []
        return 2 * result.elements * math.prod(left.sizes[d] for d in dims)
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", one.rest)
    if labels is None:
        return 0
    _, kernel, _ = labels.groups()
    features = right.sizes[kernel.index("i")]
    spatial = [label for label in kernel if label.isdigit()]
    taps = 1
    for label in spatial:
        taps *= _taps(one.rest, int(label), labels, left, right, result)
    others = result.elements // math.prod(result.sizes[labels[3].index(label)] for label in spatial)
    return 2 * others * features * taps


def _taps(
    rest: str, dim: int, labels: re.Match[str], left: Piece, right: Piece, result: Piece
) -> int:
    """Pairs of an output place and a window place that meet an input element, in one dimension."""
    label = str(dim)
    size = left.sizes[labels[1].index(label)]
    window = right.sizes[labels[2].index(label)]
    out = result.sizes[labels[3].index(label)]
    stride = _window(rest, "stride", dim, 1)
    low = _window(rest, "pad", dim, 0)
    dilated = _window(rest, "lhs_dilate", dim, 1)
    spread = _window(rest, "rhs_dilate", dim, 1)
    if out * window > 2**24:
        return out * window
    at = np.arange(out)[:, None] * stride + np.arange(window)[None] * spread - low
    meets = (at >= 0) & (at <= (size - 1) * dilated) & (at % dilated == 0)
    return int(meets.sum())


def _window(rest: str, word: str, dim: int, default: int) -> int:
    """The value of a window's dimension: of a pad, what is put in front."""
    found = re.search(rf"window=\{{[^}}]*\b{word}=([\d_x\-]+)", rest)
    return int(found[1].split("x")[dim].split("_")[0]) if found else default


def moved(one: Instruction, body: Body, parts: Mapping[str, Body]) -> int:
    """Bytes between HBM and the chip: operands and results that lie in HBM.

    Of what is cut out of, or written into, a larger array only that part moves.
    """
    if one.opcode in CONTROL or one.opcode.endswith(("-done", "-update")):
        return 0
    if one.opcode.endswith("-start"):
        return sum(piece.bytes for piece in pieces(one.shape)[:2] if piece.hbm and piece.sizes)
    called = parts.get(one.calls or "", {}) if one.opcode == "fusion" else {}
    if not called:
        return _plain(one, body)
    arguments = [i for i in called.values() if i.opcode == "parameter"]
    arguments.sort(key=lambda i: int(i.rest.split(")")[0]))
    read = sum(
        _used(inner, called)
        for outer, inner in zip(one.operands, arguments, strict=False)
        if _piece(body, outer).hbm
    )
    return read + _written(one, called)


def _plain(one: Instruction, body: Body) -> int:
    results = [piece for piece in pieces(one.shape) if piece.hbm]
    if one.opcode in ("dynamic-slice", "slice", "gather"):
        return 2 * sum(piece.bytes for piece in results)
    if one.opcode == "dynamic-update-slice":
        return 2 * _piece(body, one.operands[1]).bytes
    operands = (_piece(body, name) for name in one.operands)
    return sum(piece.bytes for piece in [*results, *operands] if piece.hbm)


def _used(argument: Instruction, called: Body) -> int:
    """Bytes of a fusion's argument that are read."""
    users = [i for i in called.values() if argument.name in i.operands]
    while len(users) == 1 and users[0].opcode in ("bitcast", "copy"):
        name = users[0].name
        users = [i for i in called.values() if name in i.operands]
    total = 0
    for user in users:
        if user.opcode in ("dynamic-slice", "slice", "gather"):
            total += sum(piece.bytes for piece in pieces(user.shape))
        elif user.opcode == "dynamic-update-slice" and user.operands[0] != argument.name:
            total += sum(piece.bytes for piece in pieces(argument.shape))
        elif user.opcode != "dynamic-update-slice":
            return sum(piece.bytes for piece in pieces(argument.shape))
    return min(total, sum(piece.bytes for piece in pieces(argument.shape)))


def _written(one: Instruction, called: Body) -> int:
    """Bytes of a fusion's results that are written."""
    results = pieces(one.shape)
    whole = sum(piece.bytes for piece in results if piece.hbm)
    updates = [i for i in called.values() if i.opcode == "dynamic-update-slice"]
    for update in updates:
        size = pieces(update.shape)[0]
        if any(piece.hbm and piece.sizes == size.sizes for piece in results):
            whole -= size.bytes - _piece(called, update.operands[1]).bytes
    return max(0, whole)


def _piece(body: Body, name: str) -> Piece:
    """The (first) array of an instruction by name; nothing where it is unknown."""
    name, _, index = name.partition("#")  # of a tuple: 'fusion.3#1'
    found = pieces(body[name].shape) if name in body else []
    number = int(index or 0)
    return found[number] if number < len(found) else Piece("token", (0,), False)
