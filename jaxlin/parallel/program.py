"""A compiled program as its schedule: computations, and how often each of them runs in a step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from kernels_pallas.static.hlo import Instruction, computations

Body = Mapping[str, Instruction]
BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "tuple": 0, "token": 0}
ARRAY = re.compile(r"\b(pred|token|bf16|[fsuc]\d+\w*)\[([\d,]*)\](?:\{([^}]*)\})?")


class Program(NamedTuple):
    """Optimized HLO text, taken apart."""

    parts: Mapping[str, Body]
    entry: str


class Run(NamedTuple):
    """A computation of the schedule and how often it runs in a step of training."""

    body: Body
    times: int
    names: str  # of the source of the loop that it is the body of


class Piece(NamedTuple):
    """One array of an instruction's shape."""

    dtype: str
    sizes: tuple[int, ...]
    hbm: bool  # rather than in a chip's own memories

    @property
    def elements(self) -> int:
        count = 1
        for size in self.sizes:
            count *= size
        return count

    @property
    def bytes(self) -> int:
        bits = re.search(r"\d+", self.dtype)
        width = BYTES.get(self.dtype, int(bits[0]) / 8 if bits else 1)
        return int(self.elements * width)


def parse(text: str) -> Program:
    """The program of `compiled.as_text()`. Raises ValueError if it has no entry."""
    head = re.search(r"^ENTRY %?([\w.\-<>]+) ", text, re.MULTILINE)
    if head is None:
        raise ValueError("the text is no HLO module: it has no ENTRY computation")
    return Program(computations(text), head[1])


def pieces(shape: str) -> list[Piece]:
    """Arrays of a shape, in order: one, or those of a tuple."""
    found = []
    for dtype, sizes, layout in ARRAY.findall(shape):
        space = re.search(r"S\((\d+)\)", layout)
        numbers = tuple(int(n) for n in sizes.split(",") if n)
        found.append(Piece(dtype, numbers, space is None or space[1] == "0"))
    return found


def runs(program: Program) -> Iterator[Run]:
    """Every computation that the schedule runs, loops multiplied by their trips.

    Of a conditional all branches count, each once a run.
    """
    yield from _runs(program, program.entry, 1, "")


def _runs(program: Program, name: str, times: int, names: str) -> Iterator[Run]:
    body = program.parts[name]
    yield Run(body, times, names)
    for one in body.values():
        for inner, repeats in _inside(program, one):
            yield from _runs(program, inner, times * repeats, op_name(one) or names)


def _inside(program: Program, one: Instruction) -> list[tuple[str, int]]:
    """Computations that an instruction of the schedule runs, and how often."""
    if one.opcode == "while":
        condition, body = (_called(one, word) for word in ("condition", "body"))
        return [(body, trips(program, condition, one))] if body else []
    if one.opcode == "conditional":
        branches = re.search(r"branch_computations=\{([^}]*)\}", one.rest)
        names = branches[1].split(", ") if branches else []
        names += [n for w in ("true_computation", "false_computation") if (n := _called(one, w))]
        return [(name.lstrip("%"), 1) for name in names]
    if one.opcode == "call":
        name = _called(one, "to_apply")
        return [(name, 1)] if name else []
    return []


def trips(program: Program, condition: str, loop: Instruction) -> int:
    """How often a loop from 0 in steps of 1 runs: the compiler's note, or the limit in its
    condition; 1 where neither is there."""
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest)
    if known:
        return int(known[1])
    limits = []
    names = [condition]
    while names:
        for one in program.parts.get(names.pop(), {}).values():
            if one.opcode == "constant" and one.shape.startswith(("s32[]", "u32[]")):
                limits.append(int(one.rest.split(")")[0]))
            if one.calls:
                names.append(one.calls)
    return max(limits, default=1)


def _called(one: Instruction, word: str) -> str:
    found = re.search(rf"\b{word}=%?([\w.\-<>]+)", one.rest)
    return found[1] if found else ""


def op_name(one: Instruction) -> str:
    """The names of the source that the instruction came from."""
    found = re.search(r'op_name="([^"]*)"', one.rest)
    return found[1] if found else ""


def cycles(one: Instruction) -> int:
    """The compiler's own estimate, where it makes one."""
    found = re.search(r'"estimated_cycles":"(\d+)"', one.rest)
    return int(found[1]) if found else 0
