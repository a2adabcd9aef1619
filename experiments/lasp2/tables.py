"""The results as tables, of text alone: for the card and for the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.lasp2.goals import MIB, Records, goals, received
from experiments.lasp2.points import LINEAR, LONG, SHORT, V5E, V5P, Point

GIB = 2**30


class Table(NamedTuple):
    """`id`: its block in the card."""

    id: str
    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class Column(NamedTuple):
    """The points of a slice's row: topology -> point."""

    name: str
    point: Callable[[str], Point]


def tables(found: Records) -> list[Table]:
    """Those of the card."""
    every = [_goals(found)]
    for chip, slices in (("v5e", V5E), ("v5p", V5P)):
        every += _of_chip(found, chip, slices)
    return [*every, _bytes_by_length(found), _dense(found), _others(found)]


def _of_chip(found: Records, chip: str, slices: Sequence[str]) -> list[Table]:
    linear = [_linear(method, SHORT) for method in LINEAR]
    longer = [_linear(method, LONG) for method in LINEAR]
    softmax = [_softmax("ring", SHORT), _softmax("ring", LONG), _softmax("ulysses", SHORT),
               _softmax("ulysses", LONG), _softmax("all_gather", SHORT)]  # fmt: skip
    where = f"{chip}, a layer, forward and backward"
    make = lambda *args: _table(found, slices, *args)  # noqa: E731
    return [
        make(f"bytes-{chip}", f"MiB that a device receives: {where}, linear attention", BYTES,
             linear, mib),
        make(f"softmax-{chip}", f"MiB that a device receives: {where}, softmax attention, 16 heads "
             "of keys", SOFTMAX, softmax, mib),
        make(f"cycles-{chip}", f"Millions of cycles of the TensorCore: {where}, {SHORT:,} tokens a "
             "device", CYCLES, linear, cycles),
        make(f"flight-{chip}", f"Collectives in flight, of all: {where}", FLIGHT,
             [*linear, *softmax[:3]], flight),
        make(f"memory-{chip}", f"MiB of temporaries of a device: {where}", MEMORY,
             [*linear, *longer, *softmax[:3], softmax[4]], memory),
    ]  # fmt: skip


BYTES = (
    "Counted in the compiled program. Where the formula says something else it stands in brackets; "
    "f: by formula, the program lists no collective."
)
SOFTMAX = BYTES + " Bytes grow with tokens; Ulysses ends where devices outnumber heads of keys."
CYCLES = (
    "The compiler's estimates of what the device computes; waiting for collectives is not in it. "
    "–: no code was generated, which takes ten times as long as the rest."
)
FLIGHT = "In flight: the schedule starts it, computes, then waits. A loop counts each of its turns."
MEMORY = (
    "What the program holds in HBM beside inputs and outputs. Refused: it would not fit, or the "
    "op cannot be split so."
)


def _linear(method: str, tokens: int) -> Column:
    name = method if tokens == SHORT else f"{method} {_k(tokens)}"
    return Column(name, lambda topology: Point(topology, "linear", method, tokens))


def _softmax(method: str, tokens: int) -> Column:
    names = {"all_gather": "keys gathered", "ring": "Ring Attention", "ulysses": "Ulysses"}
    name = f"{names[method]} {_k(tokens)}"
    return Column(name, lambda topology: Point(topology, "softmax", method, tokens))


def _k(tokens: int) -> str:
    return f"{tokens // 1024}k"


def _table(
    found: Records,
    slices: Iterable[str],
    id: str,
    title: str,
    note: str,
    columns: Sequence[Column],
    cell: Callable[[Mapping[str, Any]], str],
) -> Table:
    """A row a slice, a column a method; columns and rows without any result are left out."""
    rows = []
    for topology in slices:
        records = [found.get(column.point(topology).id, {}) for column in columns]
        ranks = next((r["ranks"] for r in records if r.get("ranks")), None)
        if ranks is not None:
            rows.append([str(ranks), topology, *(cell(record) for record in records)])
    used = [0, 1, *(i for i in range(2, 2 + len(columns)) if any(row[i] != "–" for row in rows))]
    header = ["chips", "slice", *(column.name for column in columns)]
    return Table(id, title, note, [header[i] for i in used], [[r[i] for i in used] for r in rows])


def mib(record: Mapping[str, Any]) -> str:
    if "census" not in record:
        return _absent(record)
    shown = f"{received(record) / MIB:,.1f}"
    if not record["collectives"]:
        return f"{shown} f"
    other = record["formula"]
    return shown if other == record["census"] else f"{shown} ({other / MIB:,.1f})"


def cycles(record: Mapping[str, Any]) -> str:
    if record.get("cycles") is None:
        return "–"
    return f"{record['cycles'] / 1e6:.2f}"


def memory(record: Mapping[str, Any]) -> str:
    if "census" in record:
        return f"{record['temporaries'] / MIB:,.0f}"
    return f"refused: {record['needed'] / GIB:.0f} GiB" if record.get("needed") else _absent(record)


def flight(record: Mapping[str, Any]) -> str:
    if not record.get("collectives"):
        return _absent(record)
    counts = [(one["count"], one["in_flight"]) for one in record["collectives"]]
    return f"{sum(n for n, hidden in counts if hidden)} of {sum(n for n, _ in counts)}"


def _absent(record: Mapping[str, Any]) -> str:
    return "refused" if "refused" in record else "failed" if "failed" in record else "–"


def _goals(found: Records) -> Table:
    rows = [[row.goal, row.way, row.measured, row.verdict] for row in goals(found)]
    note = "Every way that was compiled, also those that miss."
    return Table("goals", "Goals", note, ["goal", "way", "measured", "verdict"], rows)


def _bytes_by_length(found: Records) -> Table:
    """Of a linear layer the same; of softmax attention eight times as many."""
    rows = []
    for one in found.values():
        short, long = one, found.get(_point(one)._replace(tokens=LONG).id, {})
        if one["point"]["tokens"] == SHORT and "census" in short and "census" in long:
            a, b = short["census"], long["census"]
            same = "the same to the byte" if a == b else f"{b / a:.3g} times"
            names = [one["point"][name] for name in ("topology", "layer", "method")]
            rows.append([*names, f"{a:,}", f"{b:,}", same])
    header = ["slice", "layer", "method", f"{SHORT:,} tokens", f"{LONG:,} tokens", ""]
    return Table("length", "Bytes received, by tokens of a device", "", header, rows)


def _dense(found: Records) -> Table:
    columns = [
        Column(m, lambda topology, m=m: Point(topology, "delta", m))
        for m in ("all_gather", "hierarchical")
    ]
    every = [_table(found, V5E, "", "", "", columns, show) for show in (mib, _flops, memory)]
    names = ("MiB", "GFLOP", "MiB of temporaries")
    header = [*every[0].header[:2], *(f"{m}, {n}" for n in names for m in ("plain", "levels"))]
    rows = [a[:2] + a[2:] + b[2:] + c[2:] for a, b, c in zip(*(t.rows for t in every), strict=True)]
    note = (
        "The transition of a slice is a matrix [128, 128] of each head, which travels beside the "
        "state, both ways, and whose products grow with the devices of a gather. Levels: one "
        "gather a dimension of the torus."
    )
    return Table("dense", "The delta rule on v5e, 8,192 tokens a device", note, header, rows)


def _flops(record: Mapping[str, Any]) -> str:
    return f"{record['flops'] / 1e9:,.0f}" if "flops" in record else _absent(record)


def _others(found: Records) -> Table:
    """Points that no other table has."""
    rows = []
    for one in found.values():
        point = _point(one)
        usual = point.implementation == "xla" and not (point.factors or point.wire)
        if usual and point.chip in ("v5e", "v5p") and point.kv_heads == 16:
            if point.layer != "linear" or point.transition == "head":
                continue
        rows.append([one["id"], mib(one), flight(one), memory(one)])
    header = ["point", "MiB received", "in flight", "MiB of temporaries"]
    note = (
        "Linear attention unless said. pallas_tpu: the op within slices is a kernel, as it is on a "
        "TPU. Numbers with x: the groups of the levels, the fastest first."
    )
    return Table("others", "Other chips, kernels, factors, wires, heads", note, header, rows)


def _point(record: Mapping[str, Any]) -> Point:
    fields = record["point"]
    return Point(**fields)._replace(factors=tuple(fields["factors"]) if fields["factors"] else None)
