"""What is drawn without a script: the layers of each model, and heat maps."""

from __future__ import annotations

from itertools import groupby
from statistics import fmean
from typing import Any

from jaxlin.study.figures import COLORS
from jaxlin.study.grid.cells import SOFTMAX, Cell, Grid
from jaxlin.study.grid.read import number
from jaxlin.study.html import Markup, el

COLD, WARM = (0x2B, 0x2F, 0x6B), (0xF6, 0xD7, 0x4A)


def layouts(grids: list[Grid]) -> Markup | None:
    """A row a model, a square a layer from the first to the last, coloured by kind."""
    cells = [cell for grid in grids for cell in grid.cells.values() if cell.layers]
    models = dict.fromkeys((c.mixer, c.ratio, tuple(c.layers)) for c in cells)
    kinds = list(dict.fromkeys(kind for *_, layers in models for kind in layers))
    kinds.sort(key=lambda kind: kind != SOFTMAX)
    colors = {kind: COLORS[i % len(COLORS)] for i, kind in enumerate(kinds)}
    if not models:
        return None
    legend = el("p", (el("span", _square(k, colors[k]), k, class_="kind") for k in kinds))
    rows = (
        el(
            "tr",
            el("td", mixer),
            el("td", ratio),
            el("td", _row(layers, colors)),
            el("td", in_words(layers), class_="soft"),
        )
        for mixer, ratio, layers in models
    )
    names = ("mixer", "ratio", "layers", "in words")
    head = el("thead", el("tr", (el("th", column) for column in names)))
    body = el("table", head, el("tbody", rows), class_="layouts")
    return el("div", legend, el("div", body, class_="scroll"), class_="card")


def in_words(layers: tuple[str, ...] | list[str]) -> str:
    """'3 gla, softmax'."""
    runs = ((kind, len(list(same))) for kind, same in groupby(layers))
    return ", ".join(kind if count == 1 else f"{count} {kind}" for kind, count in runs)


def heat_maps(grid: Grid) -> list[Markup]:
    """A heat map a cell of the grid and task that has one: the mean over seeds."""
    found = []
    for cell in sorted(grid.cells.values(), key=lambda c: (c.mixer, c.share)):
        names = dict.fromkeys(name for line in cell.lines for name in line["grids"])
        for task in names:
            found.append(_heat_map(grid, cell, task))
    return found


def mean_map(grids: list[dict[str, Any]]) -> list[list[float | None]]:
    """Mean over seeds, place by place; None where no number is."""
    rows = range(len(grids[0]["values"]))
    columns = range(len(grids[0]["columns"]))
    known = [[[v for g in grids if number(v := g["values"][r][c])] for c in columns] for r in rows]
    return [[fmean(values) if values else None for values in row] for row in known]


def _heat_map(grid: Grid, cell: Cell, task: str) -> Markup:
    maps = [line["grids"][task] for line in cell.lines if task in line["grids"]]
    first = maps[0]
    same = [m for m in maps if (m["rows"], m["columns"]) == (first["rows"], first["columns"])]
    corner = f"{first.get('row', 'row')} \\ {first.get('column', 'column')}"
    head = el("tr", el("th", corner), (el("th", c) for c in first["columns"]))
    rows = (
        el("tr", el("th", _place(row)), (_warm(v) for v in values))
        for row, values in zip(first["rows"], mean_map(same), strict=True)
    )
    table = el("table", el("thead", head), el("tbody", rows), class_="heat")
    left = len(maps) - len(same)
    note = f"{grid.title}; mean of {len(same)} seeds" + (
        f"; {left} with other rows or columns left out" if left else ""
    )
    return el(
        "section",
        el("h3", f"{task.removeprefix('task.')}: {cell.mixer} {cell.ratio}"),
        el("p", note, class_="note"),
        el("div", table, class_="scroll"),
        class_="card",
    )


def _warm(value: float | None) -> Markup:
    """A cell of a heat map, from cold (0) to warm (1)."""
    if value is None:
        return el("td", "–")
    place = min(1.0, max(0.0, value))
    mixed = [round(a + (b - a) * place) for a, b in zip(COLD, WARM, strict=True)]
    ink = "#111" if place > 0.5 else "#fff"
    color = "#" + "".join(f"{part:02x}" for part in mixed)
    return el("td", f"{value:.2f}", style=f"background:{color};color:{ink}")


def _place(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _row(layers: tuple[str, ...], colors: dict[str, str]) -> Markup:
    squares = (_square(f"layer {i}: {kind}", colors[kind]) for i, kind in enumerate(layers))
    return el("span", squares, class_="layers", role="img", aria_label=in_words(layers))


def _square(title: str, color: str) -> Markup:
    return el("i", class_="square", title=title, style=f"background:{color}")
