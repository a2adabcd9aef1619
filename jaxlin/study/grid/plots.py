"""The plots of a study: scores by share of softmax, learning curves, cost against quality."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from statistics import fmean, stdev
from typing import Any

from jaxlin.study.figures import Figure, color, name
from jaxlin.study.grid.cells import UNITS, Cell, Grid, higher, title
from jaxlin.study.grid.read import number
from jaxlin.study.grid.tables import numbers, slug
from jaxlin.study.scores import Score, score
from jaxlin.study.series import Point, xy

SYMBOLS = ("circle", "diamond", "square", "cross", "triangle-up", "x", "star", "hexagon")
Number = int | float
MOST = 4  # costs that are plotted
COSTS = ("flops", "bytes")  # what names of an accounting have in them that is worth a plot


def by_share(grid: Grid, metric: str) -> Figure | None:
    """A line a mixer over the share of softmax layers; bars are the spread over seeds."""
    data = []
    for i, mixer in enumerate(grid.mixers):
        cells = [(c.share, s) for c in _cells(grid, mixer) if (s := score(c.values(metric)))]
        cells.sort(key=lambda cell: cell[0])
        if cells:
            mode = "markers" if len(cells) == 1 else "lines+markers"
            xs = [round(100 * share, 2) for share, _ in cells]
            data.append(_scores(mixer, xs, [s for _, s in cells], i) | {"mode": mode})
    if not data:
        return None
    return Figure(
        slug("share", grid.title, metric),
        f"{title(metric)} by share of softmax".capitalize(),
        UNITS.get(metric, "share of answers"),
        f"{grid.title}. Bars: standard deviation over seeds.",
        data,
        {"xaxis": {"title": {"text": "% of layers that are softmax"}}, "yaxis": {"type": "linear"},
         "hovermode": "closest", "showlegend": True},
        scales=not higher(metric),
    )  # fmt: skip


def learning(grid: Grid) -> Iterator[Figure]:
    """A figure a mixer and metric, a line a ratio: mean over seeds with its spread as a band."""
    for metric in [m for m in grid.metrics() if _has_curves(grid, m)] or ["train.loss"]:
        for mixer in grid.mixers:
            data = []
            for i, cell in enumerate(sorted(_cells(grid, mixer), key=lambda c: c.share)):
                curves = [kept for line in cell.lines if (kept := _known(line["curves"], metric))]
                data += _band(cell.ratio, curves, i) if curves else []
            if data:
                yield Figure(
                    slug("curve", grid.title, metric, mixer),
                    f"{mixer}: {_curve_title(metric)}",
                    UNITS.get(metric, "nats per token" if metric == "train.loss" else ""),
                    "Line: mean over seeds; band: ± standard deviation.",
                    data,
                    {"xaxis": {"title": {"text": "step"}}, "yaxis": {"type": "linear"},
                     "hovermode": "closest", "showlegend": True},
                    scales=not higher(metric) or metric == "train.loss",
                )  # fmt: skip


def pareto(grid: Grid, metric: str) -> Iterator[Figure]:
    """A figure a cost that the models' accounting has: a point a cell, the front dotted."""
    ratios = grid.ratios
    symbols = {ratio: SYMBOLS[i % len(SYMBOLS)] for i, ratio in enumerate(ratios)}
    marks = ", ".join(f"{ratio} {symbol}" for ratio, symbol in symbols.items())
    for cost in costs(grid)[:MOST]:
        found = _priced(grid, metric, cost)
        if len({x for _, x, _ in found}) < 2:
            continue  # all models that were scored cost the same
        axis = "log" if all(x > 0 for _, x, _ in found) else "linear"  # pure models have no keys
        best = front([(x, s.mean) for _, x, s in found], higher(metric))
        yield Figure(
            slug("pareto", grid.title, metric, cost),
            f"{title(metric)} against {cost}".capitalize(),
            UNITS.get(metric, "share of answers"),
            f"{grid.title}. {marks}. Dotted: the front, which no model beats in both.",
            [*_clouds(grid, found, symbols), _front_line(best)],
            {
                "xaxis": {"title": {"text": cost}, "type": axis},
                "yaxis": {"type": "linear"},
                "hovermode": "closest",
                "showlegend": True,
            },
        )


def costs(grid: Grid) -> list[str]:
    """Names in the accounting that tell of FLOPs or bytes, in turn, and differ between models."""
    kinds: dict[str, set[Number]] = {}
    for cell in grid.cells.values():
        for line in cell.lines[:1]:
            for key, value in numbers(line["accounting"]).items():
                if value >= 0 and any(cost in key.lower() for cost in COSTS):
                    kinds.setdefault(key, set()).add(value)
    differing = [key for key, values in kinds.items() if len(values) > 1]
    flops, rest = ([k for k in differing if ("flops" in k.lower()) == wanted]
                   for wanted in (True, False))  # fmt: skip
    return [key for pair in zip_longest(flops, rest) for key in pair if key]


def front(points: list[tuple[Number, float]], more: bool) -> list[tuple[Number, float]]:
    """Those that no other point is at least as cheap and better than, by cost."""
    best: list[tuple[Number, float]] = []
    for x, y in sorted(points, key=lambda p: (p[0], -p[1] if more else p[1])):
        if not best or (y > best[-1][1] if more else y < best[-1][1]):
            best.append((x, y))
    return best


def mean_curve(curves: list[list[Point]]) -> list[tuple[int, Score]]:
    """Mean and spread at every step that any curve has within the range of all of them; between
    its own steps a curve is a straight line, since each run was thinned for itself."""
    known = [[(x, y) for x, y in curve if y is not None] for curve in curves]
    known = [curve for curve in known if curve]
    if not known:
        return []
    first, last = max(c[0][0] for c in known), min(c[-1][0] for c in known)
    steps = sorted({x for curve in known for x, _ in curve if first <= x <= last})
    found = []
    for step in steps:
        ys = [_at(curve, step) for curve in known]
        found.append((step, Score(fmean(ys), stdev(ys) if len(ys) > 1 else None, len(ys))))
    return found


def _at(curve: list[tuple[int, float]], step: int) -> float:
    """The value at a step within the curve's range."""
    for (x0, y0), (x1, y1) in zip(curve, curve[1:], strict=False):
        if x0 <= step <= x1:
            return y0 + (y1 - y0) * ((step - x0) / (x1 - x0) if x1 > x0 else 0.0)
    return curve[-1][1] if step >= curve[-1][0] else curve[0][1]


def _band(label: str, curves: list[list[Point]], i: int) -> list[dict[str, Any]]:
    found = mean_curve(curves)
    if not found:
        return []
    steps = [step for step, _ in found]
    group = {"type": "scatter", "mode": "lines", "legendgroup": label}
    middle = xy([(step, s.mean) for step, s in zip(steps, (s for _, s in found), strict=True)])
    line = {**group, "name": name(label), "line": {"color": color(i), "width": 2}, **middle}
    if len(steps) == 1:
        line |= {"mode": "markers", "marker": {"color": color(i)}}
    if not any(s.sd for _, s in found):
        return [line]
    edges = [[s.mean + sign * (s.sd or 0.0) for _, s in found] for sign in (-1, 1)]
    band = xy([*zip(steps, edges[0], strict=True), *zip(steps[::-1], edges[1][::-1], strict=True)])
    shade = {"fill": "toself", "fillcolor": f"{color(i)}30", "line": {"width": 0}}
    return [{**group, **shade, "hoverinfo": "skip", "showlegend": False, **band}, line]


def _scores(label: str, xs: list[Number], scores: list[Score], i: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": name(label),
        "x": xs,
        "y": [float(f"{s.mean:.6g}") for s in scores],
        "error_y": {"type": "data", "array": [s.sd or 0.0 for s in scores], "thickness": 1.2},
        "line": {"color": color(i), "width": 2},
        "marker": {"color": color(i), "size": 9},
    }


def _clouds(
    grid: Grid, found: list[tuple[Cell, Number, Score]], symbols: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """The models of each mixer, a symbol a ratio."""
    for i, mixer in enumerate(grid.mixers):
        own = [(cell, x, s) for cell, x, s in found if cell.mixer == mixer]
        if own:
            trace = _scores(mixer, [x for _, x, _ in own], [s for *_, s in own], i)
            trace["marker"] |= {"symbol": [symbols[cell.ratio] for cell, *_ in own]}
            hover = "%{text}: %{x:.4s}, %{y:.4g}<extra>%{fullData.name}</extra>"
            texts = [name(cell.ratio) for cell, *_ in own]
            yield trace | {"mode": "markers", "text": texts, "hovertemplate": hover}


def _front_line(best: list[tuple[Number, float]]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "front",
        "hoverinfo": "skip",
        "line": {"color": "#8b95a5", "dash": "dot", "width": 1.5},
        "x": [x for x, _ in best],
        "y": [y for _, y in best],
    }


def _cells(grid: Grid, mixer: str) -> list[Cell]:
    return [cell for (own, _), cell in grid.cells.items() if own == mixer]


def _priced(grid: Grid, metric: str, cost: str) -> list[tuple[Cell, Number, Score]]:
    found = []
    for cell in grid.cells.values():
        priced = numbers(cell.lines[0]["accounting"]).get(cost) if cell.lines else None
        measured = score(cell.values(metric))
        if priced is not None and measured:
            found.append((cell, priced, measured))
    return found


def _known(curves: dict[str, Any], metric: str) -> list[Point]:
    """A curve; values that are no numbers are gaps."""
    return [(int(x), float(y) if number(y) else None) for x, y in curves.get(metric, [])]


def _has_curves(grid: Grid, metric: str) -> bool:
    return any(metric in line["curves"] for c in grid.cells.values() for line in c.lines)


def _curve_title(metric: str) -> str:
    return "training loss" if metric == "train.loss" else title(metric)
