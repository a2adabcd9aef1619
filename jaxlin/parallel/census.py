"""Every collective of a compiled step: kind, mesh axis, bytes, count, and whether it overlaps.

In flight: the schedule starts the collective, then computes, then waits for it. Three forms: pairs
NAME-start ... NAME-done; v5e's async-collective-start ... -done, between which fused computations
carry the collective along (its repetitions in them are the same collective); and calls to the
SparseCore, NAME.call-start ... NAME.call-done. Kernels that send by themselves are no collectives
to the compiler: `remote` knows them, and they are never in flight.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from jaxlin.parallel.groups import group
from jaxlin.parallel.program import Body, Piece, Program, cycles, op_name, pieces, runs
from jaxlin.parallel.remote import SCAN, scan_of
from kernels_pallas.static.hlo import Instruction

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
SCATTER = "all-reduce-scatter"  # a computation that fuses an all-reduce with cutting out a part
PARTS = ("embed", "unembed", "final_norm")


class Collective(NamedTuple):
    """One collective of the schedule."""

    kind: str
    axis: str  # mesh axes, joined by '+'
    ranks: int
    count: int  # runs a step
    bytes: int  # that a device receives in one run
    places: int  # between sender and receiver of a permutation, along the axis; else 0
    in_flight: bool  # while the device computes
    cycles: int  # of what is computed meanwhile, by the compiler; 0 without code
    source: str  # 'forward blocks_0/layer_0/mixer'
    op: str  # all names of the source
    blocks: int = 1  # that an all-scan sends one after the other

    @property
    def total(self) -> int:
        return self.count * self.bytes


def census(program: Program, mesh: Mapping[str, int]) -> list[Collective]:
    """The collectives of a compiled step: those of the entry, then those of each loop."""
    found, carried = [], _started(program.parts)
    for run in runs(program):
        order = list(run.body.values())
        ends = {one.name: i for i, one in enumerate(order)}
        for i, one in enumerate(order):
            for inner in begins(one, program.parts):
                if _channel(inner) in carried and not _starts(one, program.parts):
                    continue  # a fused computation, also of a loop, that carries it along
                done = _end(i, one, order, ends)
                meanwhile = order[i + 1 : done]
                busy = any(computes(other) for other in meanwhile)
                names = next(filter(None, (op_name(inner), op_name(one), run.names)), "")
                found.append(
                    _collective(inner, names, run.times, mesh, busy, sum(map(cycles, meanwhile)))
                )
    return found


def kind_of(opcode: str) -> str | None:
    """The kind of a collective's opcode, started or at once."""
    name = opcode.removesuffix("-start")
    return "reduce-scatter" if name == SCATTER else name if name in KINDS else None


def begins(one: Instruction, parts: Mapping[str, Body]) -> Iterator[Instruction]:
    """The collectives that an instruction of the schedule begins."""
    if kind_of(one.opcode) or scan_of(one):
        yield one
    elif one.opcode == "fusion":
        yield from _within(one.calls, parts)
    elif one.opcode in ("async-start", "custom-call-start"):
        yield from _within(one.calls or _offloaded(one), parts)


def _offloaded(one: Instruction) -> str | None:
    """The computation that a call hands to the SparseCore."""
    called = re.search(r"called_computations=\{%?([\w.\-<>]+)", one.rest)
    return called[1] if called else None


def _starts(one: Instruction, parts: Mapping[str, Body]) -> bool:
    """Whether a fused computation starts a collective that others carry along."""
    inside = parts.get(one.calls or "", {}).values()
    return any("AsyncCollectiveStart" in each.rest for each in inside)


def _started(parts: Mapping[str, Body]) -> set[tuple[str, str]]:
    """Channels of all collectives that are started so."""
    return {
        _channel(each)
        for body in parts.values()
        if any("AsyncCollectiveStart" in one.rest for one in body.values())
        for each in body.values()
        if kind_of(each.opcode)
    }


def _channel(one: Instruction) -> tuple[str, str]:
    found = re.search(r"channel_id=(\d+)", one.rest)
    return one.opcode, found[1] if found else one.name


def _within(name: str | None, parts: Mapping[str, Body]) -> Iterator[Instruction]:
    for one in parts.get(name or "", {}).values():
        if one.opcode == "all-reduce" and (name or "").startswith(SCATTER):
            yield one._replace(opcode=SCATTER)
        elif kind_of(one.opcode):
            yield one
        elif inner := one.calls or _offloaded(one):
            yield from _within(inner, parts)


def _end(i: int, one: Instruction, order: list[Instruction], places: Mapping[str, int]) -> int:
    """The place in the schedule where the collective that begins at `i` is waited for."""
    if "start" not in one.name and not one.opcode.endswith("-start"):
        return i
    for word, other in (("-start", "-done"), ("call-start", "call-done")):
        done = places.get(other.join(one.name.rsplit(word, 1)))
        if done is not None and done > i:
            return done
    reached = {one.name}
    for j, later in enumerate(order[i + 1 :], i + 1):
        if reached.intersection(name.partition("#")[0] for name in later.operands):
            if later.opcode.endswith("-done") or "collective-done" in later.name:
                return j
            reached.add(later.name)
    return i


def computes(one: Instruction) -> bool:
    """Whether the TensorCore works in it, rather than copying or waiting."""
    if one.opcode in ("while", "conditional", "convolution", "dot") or one.kernel:
        return scan_of(one) is None  # which mostly waits
    return one.opcode == "fusion" and not one.name.startswith(
        ("async-collective-start", "async-collective-done", "copy", "bitcast")
    )


def _collective(
    inner: Instruction,
    names: str,
    times: int,
    mesh: Mapping[str, int],
    busy: bool,
    meanwhile: int,
) -> Collective:
    scan = scan_of(inner)
    kind = SCAN if scan else kind_of(inner.opcode) or inner.opcode
    where = scan.group(mesh) if scan else group(inner.rest, mesh)
    return Collective(
        kind=kind,
        axis=where.axis,
        ranks=where.ranks,
        count=times,
        bytes=received(kind, inner, where.ranks),
        places=where.places,
        in_flight=busy,
        cycles=meanwhile if busy else 0,
        source=source(names),
        op=names,
        blocks=scan.blocks if scan else 1,
    )


def received(kind: str, one: Instruction, ranks: int) -> int:
    """Bytes that one device receives.

    n ranks, result of R bytes: all-gather R (n - 1) / n; all-reduce 2 R (n - 1) / n;
    reduce-scatter R (n - 1); all-to-all R (n - 1) / n; collective-permute R; all-scan R, its
    result. What scatters in a fused computation has n R for a result.
    """
    size = sum(piece.bytes for piece in _results(one))
    if one.opcode == SCATTER:
        return round(size * (ranks - 1) / ranks)
    factor = {
        "all-gather": (ranks - 1) / ranks,
        "all-reduce": 2 * (ranks - 1) / ranks,
        "reduce-scatter": ranks - 1,
        "all-to-all": (ranks - 1) / ranks,
        "collective-permute": 1,
        SCAN: 1,
    }[kind]
    return round(size * factor)


def _results(one: Instruction) -> list[Piece]:
    """The arrays that come out; a start also names what goes in, and flags."""
    found = pieces(one.shape)
    if not one.opcode.endswith("-start") or one.opcode.startswith("all-reduce"):
        return found
    arrays = [piece for piece in found if piece.sizes]
    return arrays[len(one.operands) : 2 * len(one.operands)]


def source(names: str) -> str:
    """Where a collective comes from: the pass, and the part of the model.

    Of several collectives that the compiler combined, the one whose names it kept.
    """
    words = re.findall(r"[A-Za-z_]+\w*", names)
    layer = re.search(r"blocks_\d+/layer_\d+/[a-z_]+", names)
    step = words[:2] == ["jit", "step"] or not names.startswith("jit(")
    if not layer and "LanguageModel" not in names:
        return "optimizer and metrics" if step else names
    if layer:
        place = layer[0]
    elif "cross_entropy" in names:
        place = "cross_entropy"
    else:
        parts = [word for word in words if word in PARTS]
        place = parts[-1] if parts else "layers' weights" if "while" in words else "model"
    return f"{'backward' if 'transpose(' in names else 'forward'} {place}"


class Row(NamedTuple):
    """Collectives that differ in nothing but where they stand."""

    kind: str
    axis: str
    ranks: int
    source: str
    in_flight: bool
    count: int
    bytes: int  # of all runs together

    @classmethod
    def key(cls, one: Collective) -> tuple[str, str, int, str, bool]:
        return one.kind, one.axis, one.ranks, one.source, one.in_flight


def summed(collectives: Iterable[Collective]) -> list[Row]:
    """One row for each kind, axis, source and overlap; the most bytes first."""
    found: dict[tuple[str, str, int, str, bool], list[int]] = {}
    for one in collectives:
        sums = found.setdefault(Row.key(one), [0, 0])
        sums[0] += one.count
        sums[1] += one.total
    rows = [Row(*key, *sums) for key, sums in found.items()]
    return sorted(rows, key=lambda row: -row.bytes)
