"""What is written from the results: the card, expected.json, the plots, the page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.cards import fill, pipe_table
from experiments.lasp2 import results
from experiments.lasp2.charts import charts
from experiments.lasp2.goals import Records, goals
from experiments.lasp2.page import page
from experiments.lasp2.points import points
from experiments.lasp2.svg import draw
from experiments.lasp2.tables import Table, tables


def write(out: Path) -> None:
    """Plots and page beside the results; where the card and expected.json lie there, also what
    they show of the results."""
    found = in_order(results.load(out / "results.jsonl"))
    for chart in charts(found):
        (out / f"{chart.id}.svg").write_text(draw(chart) + "\n")
    expected = out / "expected.json"
    published = json.loads(expected.read_text())["published"] if expected.exists() else []
    (out / "page.html").write_text(page(found, published))
    if expected.exists():
        expected.write_text(as_json({"published": published, "measured": measured(found)}))
    if (card := out / "README.md").exists():
        card.write_text(filled(card.read_text(), found, published))


def in_order(found: Records) -> Records:
    """As the points are listed, whichever was compiled first."""
    return {point.id: found[point.id] for point in points() if point.id in found}


def measured(found: Records) -> dict[str, Any]:
    """Figures to hold later compiles against, by point."""
    names = ("census", "formula", "temporaries", "cycles")
    kept = {id: {n: r[n] for n in names} for id, r in found.items() if "census" in r}
    refused = [id for id, record in found.items() if "refused" in record]
    versions = next(iter(found.values()))["versions"] if found else {}
    return {
        "command": "python -m experiments.lasp2.scaling",
        "versions": versions,
        "goals": [row._asdict() for row in goals(found)],
        "points": kept,
        "refused": refused,
    }


def as_json(value: Any) -> str:
    """Short lists and figures of one point on one line."""
    text = json.dumps(value, indent=1)
    flat = re.compile(r"[\[{]\n\s+([^\[\]{}]{0,200}?)\n\s+[\]}]")

    def joined(match: re.Match[str]) -> str:
        inner = re.sub(r"\s*\n\s*", " ", match[1])
        return match[0][0] + inner + match[0][-1]

    return flat.sub(joined, text) + "\n"


def filled(card: str, found: Records, published: list[dict[str, Any]]) -> str:
    """The card with its blocks, between `<!-- NAME -->` and `<!-- end -->`, made anew."""
    blocks = {table.id: markdown(table) for table in tables(found)}
    blocks["published"] = "\n\n".join(map(_published, published))
    blocks["versions"] = provenance(found)
    return fill(card, blocks)


def provenance(found: Records) -> str:
    """Versions, and how much of the study is there."""
    if not found:
        return "Nothing was compiled yet."
    versions = next(iter(found.values()))["versions"]
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    refused = sum("refused" in record for record in found.values())
    return (
        f"{len(found)} of {len(points())} points, {refused} of them refused by the compiler or the "
        f"op; {names}."
    )


def markdown(table: Table) -> str:
    """A pipe table under its title."""
    body = pipe_table(table.header, table.rows)
    return "\n\n".join(part for part in (f"**{table.title}**", table.note, body) if part)


def _published(table: Mapping[str, Any]) -> str:
    rows = [[str(cell) for cell in row] for row in table["rows"]]
    return markdown(Table("", table["title"], table["source"] + ".", table["header"], rows))
