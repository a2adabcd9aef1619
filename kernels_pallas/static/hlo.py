"""Copies and transposes that XLA put around the kernels of a compiled program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

MOVES = {"copy", "transpose", "reshape"}
FREE = {"bitcast", "get-tuple-element", "tuple", "parameter", "constant", "optimization-barrier"}
PREFETCH = {"copy-start", "copy-done"}  # HBM to VMEM in the same layout, while others run
PASSING = MOVES | FREE | PREFETCH | {"convert", "broadcast", "slice", "pad", "concatenate"}
LINE = re.compile(r"^\s*(?:ROOT )?%?([\w.\-<>]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")


class Instruction(NamedTuple):
    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    calls: str | None
    kernel: bool
    rest: str  # of the line: operands and attributes


class Copy(NamedTuple):
    """An instruction that only moves data: its name, opcode and shape with layout."""

    name: str
    opcode: str
    shape: str


def copies(compiled: Any) -> list[Copy]:
    """Copies and transposes of a compiled program that feed a Pallas kernel or take its results.

    compiled: what `compile_for` returns, or optimized HLO text. An instruction counts if it only
    moves data (copy, transpose, a reshape that is no bitcast, or a fusion of such, also with
    changes of dtype) and nothing but such instructions stands between it and a tpu_custom_call.
    """
    text = compiled if isinstance(compiled, str) else compiled.as_text()
    parts = computations(text)
    found = {}
    for body in parts.values():
        users: dict[str, list[str]] = {}
        for one in body.values():
            for operand in one.operands:
                users.setdefault(operand, []).append(one.name)
        for kernel in (one for one in body.values() if one.kernel):
            before = reach(kernel, body, parts, lambda one: one.operands)
            after = reach(kernel, body, parts, lambda one, users=users: users.get(one.name, ()))
            for one in (*before, *after):
                if moves(one, parts):
                    found[one.name] = Copy(one.name, one.opcode, one.shape)
    return list(found.values())


def computations(text: str) -> dict[str, dict[str, Instruction]]:
    """Instructions of each computation of HLO text, by their names."""
    found: dict[str, dict[str, Instruction]] = {}
    body: dict[str, Instruction] = {}
    for line in text.splitlines():
        if line.endswith("{") and (head := re.match(r"^(?:ENTRY )?%?([\w.\-<>]+) ", line)):
            body = found.setdefault(head[1], {})
        elif match := LINE.match(line):
            name, shape, opcode, rest = match.groups()
            operands = tuple(re.findall(r"%([\w.\-<>]+(?:#\d+)?)", rest.partition(")")[0]))
            calls = re.search(r"calls=%?([\w.\-<>]+)", rest)
            kernel = 'custom_call_target="tpu_custom_call"' in rest
            body[name] = Instruction(
                name, shape, opcode, operands, calls[1] if calls else None, kernel, rest
            )
    return found


def reach(start: Instruction, body: dict, parts: dict, step: Any) -> Iterator[Instruction]:
    """Instructions that only pass data on, from `start` along `step`."""
    todo, seen = list(step(start)), set()
    while todo:
        one = body.get(todo.pop())
        if one is None or one.name in seen or not passes(one, parts):
            continue
        seen.add(one.name)
        yield one
        todo += step(one)


def opcodes(one: Instruction, parts: dict) -> set[str]:
    """The opcode, or those inside of a fusion."""
    if one.calls in parts:
        return set().union(*(opcodes(inner, parts) for inner in parts[one.calls].values()))
    return {one.opcode}


def passes(one: Instruction, parts: dict) -> bool:
    return not one.kernel and opcodes(one, parts) <= PASSING


def moves(one: Instruction, parts: dict) -> bool:
    return bool(opcodes(one, parts) & MOVES)
