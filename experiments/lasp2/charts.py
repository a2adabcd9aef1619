"""The plots: bytes, cycles and temporaries over chips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.lasp2.goals import MIB, Records, received
from experiments.lasp2.points import LINEAR, LONG, SHORT, V5E, V5P, Point
from experiments.lasp2.svg import Chart, Curve

Value = Callable[[Mapping[str, Any]], float]


def charts(found: Records) -> list[Chart]:
    """Those that have a curve of two points or more."""
    every = [
        Chart("bytes-v5e", "v5e", "chips", "MiB received a layer", _all(found, V5E, _mib)),
        Chart("bytes-v5p", "v5p", "chips", "MiB received a layer", _all(found, V5P, _mib)),
        Chart("cycles", "v5e and v5p", "chips", "million cycles a layer", _cycles(found)),
        Chart("memory-v5e", "v5e", "chips", "MiB of temporaries a layer", _all(found, V5E, _temp)),
    ]
    return [chart for chart in every if chart.curves]


def _all(found: Records, slices: Sequence[str], value: Value) -> list[Curve]:
    curves = [_curve(found, m, slices, "linear", m, SHORT, value) for m in LINEAR]
    for method, name in (("ring", "Ring Attention"), ("ulysses", "Ulysses")):
        for tokens in (SHORT, LONG):
            label = f"{name} {tokens // 1024}k"
            curves.append(_curve(found, label, slices, "softmax", method, tokens, value))
    return [curve for curve in curves if len(curve.points) > 1]


def _cycles(found: Records) -> list[Curve]:
    curves = [
        _curve(found, f"{method} {chip}", slices, "linear", method, SHORT, _million)
        for chip, slices in (("v5e", V5E), ("v5p", V5P))
        for method in LINEAR
    ]
    return [curve for curve in curves if len(curve.points) > 1]


def _curve(
    found: Records,
    name: str,
    slices: Sequence[str],
    layer: Any,
    method: str,
    tokens: int,
    value: Value,
) -> Curve:
    records = [found.get(Point(s, layer, method, tokens).id, {}) for s in slices]
    known = [(r["ranks"], value(r)) for r in records if "census" in r]
    return Curve(name, [(x, y) for x, y in known if y > 0])


def _mib(record: Mapping[str, Any]) -> float:
    return received(record) / MIB


def _temp(record: Mapping[str, Any]) -> float:
    return record["temporaries"] / MIB


def _million(record: Mapping[str, Any]) -> float:
    return (record["cycles"] or 0) / 1e6
