"""Collectives of a compiled program: how often they run, and what a device receives by them."""

import re
from typing import NamedTuple

import numpy as np

OPS = "all-gather|reduce-scatter|collective-permute|all-to-all|all-reduce"
COLLECTIVE = re.compile(rf"%?[\w.\-]+ = (.*?) ({OPS})(?:-start)?\((.*)$")
HEAD = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
CALLED = re.compile(r"(body|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
BRANCHES = re.compile(r"branch_computations=\{(.*?)\}")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
SHAPE = re.compile(r"\b([a-z]+)(\d+)\[([\d,]*)\]")


class Sent(NamedTuple):
    op: str
    received: int  # bytes
    times: int


def collectives(text: str, ranks: int) -> list[Sent]:
    """Of HLO text, with those in loops as often as the loop's known trip count says."""
    bodies: dict[str, list[str]] = {}
    lines: list[str] = []
    entry = ""
    for line in text.splitlines():
        if head := HEAD.match(line):
            lines = bodies.setdefault(head[1], [])
            entry = head[1] if line.startswith("ENTRY") else entry
        else:
            lines.append(line)
    return _in(bodies, entry, 1, ranks)


def _in(bodies: dict[str, list[str]], name: str, times: int, ranks: int) -> list[Sent]:
    found = []
    for line in bodies[name]:
        if match := COLLECTIVE.search(line):
            found.append(Sent(match[2], _received(match[1], match[2], ranks), times))
            continue
        called = [(kind, name) for kind, name in CALLED.findall(line)]
        for names in BRANCHES.findall(line):
            called += [("", name) for name in re.findall(r"[\w.\-]+", names)]
        for kind, inner in called:
            trips = int(TRIPS.search(line)[1]) if kind == "body" else 1  # type: ignore[index]
            found += _in(bodies, inner, times * trips, ranks)
    return found


def _received(shape: str, op: str, ranks: int) -> int:
    """Of a result of this shape."""
    sizes = [
        int(bits) // 8 * int(np.prod([int(n) for n in axes.split(",") if n]))
        for _, bits, axes in SHAPE.findall(shape)
    ]
    whole = sum(sizes)
    if op == "reduce-scatter":
        return whole * (ranks - 1)
    return whole if op == "collective-permute" else whole * (ranks - 1) // ranks


def counts(sent: list[Sent]) -> dict[str, int]:
    return {op: sum(s.times for s in sent if s.op == op) for op in {s.op for s in sent}}


def received(sent: list[Sent]) -> int:
    return sum(s.received * s.times for s in sent)
