"""The tables of a study: scores by mixer and ratio, figures of the findings, theirs beside ours."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from statistics import fmean
from typing import Any

from jaxlin.config.plain import leaves
from jaxlin.study.findings import FULL
from jaxlin.study.grid import compare
from jaxlin.study.grid.cells import RATIO, Grid, title
from jaxlin.study.grid.compare import Pair
from jaxlin.study.grid.published import Published, Table
from jaxlin.study.grid.read import Study, number
from jaxlin.study.grid.sheets import Sheet
from jaxlin.study.scores import score

LONGEST = 60  # characters of a name
SPREAD = "Mean ± standard deviation over seeds (number of seeds)."


def slug(*parts: str) -> str:
    """A name for files and elements; one that had to lose much ends in a hash, to stay its own."""
    text = "-".join(parts)
    kept = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if len(kept) <= LONGEST and re.fullmatch(r"[\w .,:()-]*", text):
        return kept
    return f"{kept[:LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def by_ratio(grid: Grid, metric: str) -> Sheet:
    """A metric by ratio (rows) and mixer (columns), with the mean over the hybrid mixers."""
    mixers = grid.mixers
    rows = []
    for ratio in grid.ratios:
        cells = [grid.cells.get((mixer, ratio)) for mixer in mixers]
        values = [cell.values(metric) if cell else [] for cell in cells]
        means = [fmean(v) for v, m in zip(values, mixers, strict=True) if v and not grid.alone(m)]
        rows.append([ratio, *map(score, values), fmean(means) if means else None])
    return Sheet(
        id=slug(grid.title, metric),
        title=f"{title(metric)} by ratio and mixer: {grid.title}".capitalize(),
        note=SPREAD + " The last column: mean over the mixers.",
        header=["ratio", *mixers, "mean"],
        rows=rows,
    )


def orders(pair: Pair, names: dict[str, str]) -> Sheet | None:
    """The order of mixers, theirs beside ours; other orders are marked."""
    found = compare.orders(pair)
    header = ["ratio", "mixer", "ours", "our rank", "theirs", "their rank", "order"]
    rows = [[ratio, names.get(m, m), *rest] for ratio, m, *rest in found]
    if pair.comparable:
        header.append("ours - theirs")
    else:
        rows = [row[:-1] for row in rows]
    return _beside(pair, "Order of mixers", "order", header, rows, 6)


def trends(pair: Pair, names: dict[str, str]) -> Sheet | None:
    """What softmax layers bring each mixer, theirs beside ours; other directions are marked."""
    header = ["mixer", "pure to", "our gain", "± 2 errors", "their gain", "direction"]
    rows = [[names.get(m, m), *rest] for m, *rest in compare.trends(pair)]
    return _beside(pair, "Gain over the pure mixer", "gain", header, rows, 5)


def published(their: Published, table: Table) -> Sheet:
    """A table as it was printed."""
    header = [table.rows_are, *(their.names.get(c, c) for c in table.columns)]
    rows: list[list[Any]] = [[name, *row] for name, row in table.rows.items()]
    if table.full is not None:
        rows.append([f"{their.names.get('softmax', FULL)}: {table.full:.3f}"])
        rows[-1] += [None] * (len(header) - 1)
    note = f"Source: {table.source}; scale {table.scale}."
    return Sheet(slug("published", table.id), table.title, note, header, rows)


def accounting(study: Study) -> Sheet | None:
    """What each model costs, once a cell: parameters and whatever its accounting says."""
    models: dict[tuple[str, ...], dict[str, Any]] = {}
    for point, line in _done(study):
        labels = {k: v for k, v in point["labels"].items() if k != "seed"}
        costs = {"parameters": line["parameters"], **numbers(line["accounting"])}
        models.setdefault(tuple(f"{k} {v}" for k, v in labels.items()), costs)
    names = list(dict.fromkeys(name for costs in models.values() for name in costs))
    if not names:
        return None
    rows: list[list[Any]] = [
        [", ".join(labels), *(costs.get(name) for name in names)]
        for labels, costs in models.items()
    ]
    return Sheet("costs", "What each model costs", "", ["model", *names], rows)


def points(study: Study) -> Sheet:
    """Every run that is done with its last numbers."""
    done = list(_done(study))
    names = sorted({name for _, line in done for name in line["final"]})
    rows: list[list[Any]] = [
        [p["name"], line["parameters"], line["tokens"], line["seconds"],
         *(line["final"].get(name) for name in names)]
        for p, line in done
    ]  # fmt: skip
    header = ["point", "parameters", "tokens", "seconds", *names]
    return Sheet("points", "Every run", "The last numbers of each run.", header, rows)


def failed(study: Study) -> Sheet:
    """Points that failed, with the reasons."""
    rows = [[p["name"], study.lines[p["id"]]["reason"] or "no reason was recorded"]
            for p in study.of("failed")]  # fmt: skip
    return Sheet("failed", "Failed points", "", ["point", "reason"], rows)


def missing(study: Study) -> Sheet:
    """Points of the sweep without any result."""
    rows = [[p["name"], ", ".join(f"{k} {v}" for k, v in p["labels"].items())]
            for p in study.of(None)]  # fmt: skip
    return Sheet("missing", "Points without a result", "", ["point", "labels"], rows)


def gaps(grids: list[Grid]) -> Sheet:
    """Cells with fewer runs than planned."""
    rows = [
        [grid.title, cell.mixer, cell.ratio, len(cell.lines), cell.planned]
        for grid in grids
        for cell in grid.cells.values()
        if len(cell.lines) < cell.planned
    ]
    header = ["grid", "mixer", RATIO, "runs done", "planned"]
    return Sheet("gaps", "Cells that lack runs", "", header, rows)


def numbers(value: Any) -> dict[str, int | float]:
    """Dotted name -> number of whatever an accounting holds."""
    return {n: leaf for n, leaf in leaves(value) if number(leaf)} if value else {}


def _done(study: Study) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    return ((p, study.lines[p["id"]]) for p in study.of("done"))


def _beside(
    pair: Pair, what: str, id: str, header: list[str], rows: list[list[Any]], verdict: int
) -> Sheet | None:
    if not rows:
        return None
    ours = f"{title(pair.metric)} ({pair.grid.title})"
    values = (
        "The published scale and metric are the same, so the numbers may be compared too."
        if pair.comparable
        else "Sizes, data and tasks differ: compare orders and directions, not numbers."
    )
    note = (
        f"Ours: {ours}; theirs: {pair.theirs.title} ({pair.theirs.source}, scale "
        f"{pair.theirs.scale}, one seed). {values} “{compare.NOISE}”: not by more than twice "
        "the standard error over our seeds. Marked: other by more than that."
    )
    return Sheet(
        id=slug(id, pair.grid.title, pair.metric, pair.theirs.id),
        title=f"{what}, {pair.theirs.measures}: ours and theirs, {ours}",
        note=note,
        header=header,
        rows=rows,
        marked=[i for i, row in enumerate(rows) if row[verdict] == compare.OTHER],
    )
