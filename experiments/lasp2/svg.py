"""A line chart as SVG: both axes logarithmic, ticks at powers; no script, no other file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jaxlin.study.figures import COLORS
from jaxlin.study.html import Markup, el

WIDTH, HEIGHT = 620, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 170, 44, 46
DARK, SOFT, GRID = "#1b2230", "#5d6879", "#e1e5eb"


class Curve(NamedTuple):
    """Points (x, y) above zero under one name."""

    name: str
    points: Sequence[tuple[float, float]]


class Chart(NamedTuple):
    """The name of its file, what it shows, what its axes are, and the curves."""

    id: str
    title: str
    x: str
    y: str
    curves: Sequence[Curve]


class _Axis(NamedTuple):
    """Values low ... high, powers of `base`, over pixels first ... last."""

    base: int
    low: float
    high: float
    first: float
    last: float

    @classmethod
    def over(cls, values: Sequence[float], base: int, first: float, last: float) -> _Axis:
        low = math.floor(math.log(min(values), base) + 1e-9)
        high = math.ceil(math.log(max(values), base) - 1e-9)
        return cls(base, low, max(high, low + 1), first, last)

    def at(self, value: float) -> float:
        share = (math.log(value, self.base) - self.low) / (self.high - self.low)
        return round(self.first + share * (self.last - self.first), 1)

    def ticks(self) -> list[float]:
        return [float(self.base) ** n for n in range(round(self.low), round(self.high) + 1)]


def draw(chart: Chart) -> Markup:
    """The picture; a point tells its values when it is pointed at."""
    every = [point for curve in chart.curves for point in curve.points]
    x = _Axis.over([point[0] for point in every], 2, LEFT, WIDTH - RIGHT)
    y = _Axis.over([point[1] for point in every], 10, HEIGHT - BOTTOM, TOP)
    order = sorted(chart.curves, key=lambda curve: -curve.points[-1][1])  # as the lines end
    colors = {curve.name: COLORS[i % len(COLORS)] for i, curve in enumerate(chart.curves)}
    return el(
        "svg",
        el("rect", width=WIDTH, height=HEIGHT, rx=8, fill="#ffffff"),
        _text(f"{chart.title}: {chart.y}", LEFT, 24, size=15, weight=600),
        _text(chart.x, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, text_anchor="middle", fill=SOFT),
        _grid(x, y),
        (_line(curve, colors[curve.name], x, y) for curve in chart.curves),
        (
            _text(c.name, WIDTH - RIGHT + 14, TOP + 6 + 19 * i, fill=colors[c.name], weight=600)
            for i, c in enumerate(order)
        ),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width="100%",
        style=f"max-width:{WIDTH}px",
        role="img",
        font_family="system-ui, sans-serif",
    )


def _grid(x: _Axis, y: _Axis) -> Iterator[Markup]:
    for tick in x.ticks():
        at = x.at(tick)
        yield el("line", x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM, stroke=GRID)
        yield _text(f"{tick:g}", at, HEIGHT - BOTTOM + 17, text_anchor="middle", fill=SOFT)
    for tick in y.ticks():
        at = y.at(tick)
        yield el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, stroke=GRID)
        yield _text(f"{tick:,.10g}", LEFT - 8, at + 4, text_anchor="end", fill=SOFT)


def _line(curve: Curve, color: str, x: _Axis, y: _Axis) -> Iterator[Markup]:
    places = [(x.at(a), y.at(b)) for a, b in curve.points]
    path = " ".join(f"{a},{b}" for a, b in places)
    yield el("polyline", points=path, fill="none", stroke=color, stroke_width=2)
    for (a, b), (px, py) in zip(curve.points, places, strict=True):
        told = el("title", f"{curve.name}: {b:,.4g} at {a:g}")
        yield el("circle", told, cx=px, cy=py, r=3.5, fill=color)


def _text(what: str, x: float, y: float, size: int = 12, weight: int = 400, **more: Any) -> Markup:
    style = {"fill": DARK, "font_size": size, "font_weight": weight} | more
    return el("text", what, x=x, y=y, **style)
