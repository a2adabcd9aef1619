"""What the study set out to show, held against the results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from experiments.lasp2.points import LONG, SHORT, TPU7X, V5E, V5P, Point

MIB = 2**20
FLAT = 0.05
Records = Mapping[str, dict[str, Any]]


class Row(NamedTuple):
    """One way to a goal: what was measured, and by how much it is met or missed."""

    goal: str
    way: str
    measured: str
    met: bool
    verdict: str


def goals(found: Records) -> list[Row]:
    """All goals that the results so far speak of."""
    return [*_bytes(found), *_flat(found), *_in_flight(found)]


def _bytes(found: Records) -> Iterable[Row]:
    v5e = Point(V5E[-1], "linear", "hierarchical")
    v5p = Point(V5P[-1], "linear", "hierarchical")
    yield from _below(found, "256 v5e: at most 60 MiB a layer", 60, _ways(v5e, "16 x 16"))
    yield from _below(found, "512 v5p: at most 92 MiB a layer", 92, _ways(v5p, "8 x 8 x 8"))


def _ways(point: Point, torus: str) -> dict[str, Point]:
    plain = point._replace(method="all_gather")
    return {
        "plain LASP-2": plain,
        f"hierarchical {torus}": point,
        "hierarchical 16 x 32": point._replace(factors=(16, 32)),
        "hierarchical 8 x 64": point._replace(factors=(8, 64)),
        f"hierarchical {torus}, decays that all devices know": point._replace(transition="shared"),
        "hierarchical 4 x 4 x 4 x 4": point._replace(factors=(4, 4, 4, 4)),
        f"hierarchical {torus}, bfloat16 on the wire": point._replace(wire="bfloat16"),
        "all_scan": point._replace(method="all_scan"),
    }


def _below(found: Records, goal: str, limit: float, ways: Mapping[str, Point]) -> Iterable[Row]:
    for way, point in ways.items():
        record = found.get(point.id, {})
        if "census" not in record:
            continue
        mib = received(record) / MIB
        over = f"missed by {mib - limit:,.2f} MiB ({100 * (mib / limit - 1):,.1f} %)"
        met = mib <= limit
        yield Row(goal, way, f"{mib:,.2f} MiB", met, "met" if met else over)


def received(record: Mapping[str, Any]) -> int:
    """Bytes of a point: counted in the program, or by formula where that shows no collective, as
    when kernels send by remote DMA."""
    return record["census"] if record["collectives"] else record["formula"]


def _flat(found: Records) -> Iterable[Row]:
    for slices in (V5E, V5P):
        for point in (
            Point(slices[0], "linear", "all_gather"),
            Point(slices[0], "linear", "hierarchical"),
            Point(slices[0], "linear", "hierarchical", transition="shared"),
            Point(slices[0], "linear", "hierarchical", LONG),
            Point(slices[0], "linear", "log_step"),
            Point(slices[0], "linear", "all_scan"),
        ):
            records = [found.get(point._replace(topology=s).id, {}) for s in slices]
            if all(record.get("cycles") for record in (records[0], records[-1])):
                yield _steady(point, [record for record in records if record.get("cycles")])


def _steady(point: Point, records: list[Mapping[str, Any]]) -> Row:
    """Of one method, from the smallest slice to the largest."""
    first, last = records[0], records[-1]
    changes = [record["cycles"] / first["cycles"] - 1 for record in records]
    change = max(changes, key=abs)
    known = ", decays that all devices know" if point.transition == "shared" else ""
    return Row(
        f"compute cycles flat within {FLAT:.0%} from the smallest slice to the largest",
        f"{point.method}, {point.chip} {first['ranks']} to {last['ranks']}, {point.tokens:,} "
        f"tokens{known}",
        f"{first['cycles'] / 1e6:.2f} M at {first['ranks']}, {last['cycles'] / 1e6:.2f} M at "
        f"{last['ranks']}; largest change {100 * change:+.1f} % ({len(records)} slices)",
        abs(change) <= FLAT,
        "met" if abs(change) <= FLAT else f"missed by {100 * (abs(change) - FLAT):.1f} points",
    )


def _in_flight(found: Records) -> Iterable[Row]:
    goal = "every gather in flight while the device computes, on v5e and tpu7x"
    for slices in (V5E, TPU7X):
        for form in ("xla", "pallas_tpu"):
            for method in ("all_gather", "hierarchical"):
                every, hidden = _hidden(found, slices, method, form)
                if every:
                    chip = slices[0].partition(":")[0]
                    words = f"{chip}, {method}, the op within slices by {form}"
                    met = hidden == every
                    verdict = "met" if met else f"missed by {every - hidden}"
                    yield Row(goal, words, f"{hidden} of {every}", met, verdict)


def _hidden(found: Records, slices: Iterable[str], method: str, form: str) -> tuple[int, int]:
    """Gathers, or what the compiler made of them, in all slices; and those of them in flight."""
    ids = [Point(s, "linear", method, t, form).id for s in slices for t in (SHORT, LONG)]
    gathers = [one for id in ids if id in found for one in found[id].get("collectives", [])]
    hidden = sum(one["count"] for one in gathers if one["in_flight"])
    return sum(one["count"] for one in gathers), hidden
