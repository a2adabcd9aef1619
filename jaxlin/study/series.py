"""Curves short enough to draw: thinned without losing a spike, smoothed without inventing one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

MOST = 2000  # points of a drawn curve
Point = tuple[int, float | None]  # step, value


def points(records: Iterable[Mapping[str, Any]], *path: str) -> list[Point]:
    """(step, value at the path in the record); None where a number should be and is none."""
    found = []
    for record in records:
        value: Any = record
        for name in path:
            value = value.get(name, math.nan) if isinstance(value, Mapping) else math.nan
        if isinstance(value, float) and math.isnan(value):
            continue  # not recorded here
        number = isinstance(value, int | float) and math.isfinite(value)
        found.append((record["step"], float(value) if number else None))
    return found


def thin(curve: list[Point], most: int = MOST) -> list[Point]:
    """At most `most` points: of each stretch the first gap, else the lowest and the highest."""
    if len(curve) <= most:
        return curve
    size = math.ceil(len(curve) / (most // 2))
    kept = []
    for start in range(0, len(curve), size):
        stretch = curve[start : start + size]
        gap = next((p for p in stretch if p[1] is None), None)
        known = [(y, x) for x, y in stretch if y is not None]
        ends = sorted({(x, y) for y, x in (min(known), max(known))}) if known else []
        kept += [gap, *ends][:2] if gap else ends
    return sorted(kept, key=lambda point: point[0])


def smooth(curve: list[Point], share: float = 0.02) -> list[Point]:
    """Mean over a window of this share of the points, centred; gaps stay gaps."""
    reach = round(len(curve) * share / 2)
    sums, counts = [0.0], [0]
    for _, y in curve:
        sums.append(sums[-1] + (y or 0.0))
        counts.append(counts[-1] + (y is not None))
    found: list[Point] = []
    for i, (x, y) in enumerate(curve):
        low, high = max(0, i - reach), min(len(curve), i + reach + 1)
        mean = (sums[high] - sums[low]) / max(1, counts[high] - counts[low])
        found.append((x, None if y is None else mean))
    return found


def xy(curve: list[Point]) -> dict[str, list[Any]]:
    """The coordinates as a trace takes them, to six digits."""
    ys = [None if y is None else float(f"{y:.6g}") for _, y in curve]
    return {"x": [x for x, _ in curve], "y": ys}
