"""The study as one HTML page without scripts that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.lasp2.charts import charts
from experiments.lasp2.goals import Records
from experiments.lasp2.svg import draw
from experiments.lasp2.tables import cycles, flight, memory, mib, tables
from jaxlin.study.html import Markup, details, el, raw, table
from jaxlin.study.style import STYLE

TITLE = "LASP-2 and its rivals, compiled for 8 to 512 chips"
SHOWS = (
    "How many bytes a device receives for a layer, in which collectives, and among whom: read from "
    "the program that would run, and equal to the formula wherever no bracket says otherwise.",
    "The order of things: whether the schedule computes between the start of a collective and the "
    "wait for it.",
    "What the device computes, in cycles that the compiler estimates and in FLOPs that were "
    "counted, and what it holds in HBM.",
    "That the program exists: that it fits the chip, and that the op can be split so.",
)
CANNOT = (
    "Time. Nothing ran: no second of this study was measured on a chip. Estimated cycles leave out "
    "waiting, and what Pallas kernels do.",
    "Whether what is in flight is hidden: a window of few cycles may close before the bytes are "
    "there.",
    "Contention on links, stragglers, failures, other jobs: what makes the curves of the published "
    "measurements fall with size.",
    "Quality. Losses of the published tables need training on 50 B tokens.",
)


def page(found: Records, published: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    body = el(
        "main",
        el("h1", TITLE),
        el(
            "p",
            "One layer, forward and backward: batch 1, 16 heads of 128, bfloat16 inputs, float32 "
            "states of 1 MiB a device. Made by python -m experiments.lasp2.scaling.",
            class_="soft",
        ),
        el("h2", "What a compile shows"),
        el("ul", (el("li", line) for line in SHOWS)),
        el("h2", "What it cannot show"),
        el("ul", (el("li", line) for line in CANNOT)),
        el("h2", "Plots"),
        el("div", (el("div", draw(c), class_="plot") for c in charts(found)), class_="plots"),
        el("h2", "Tables"),
        *(_shown(one.title, one.note, one.header, one.rows) for one in tables(found)),
        el("h2", "Published, on GPUs"),
        *(_shown(one["title"], one["source"], one["header"], one["rows"]) for one in published),
        details("Every point", _every(found)),
    )
    head = el(
        "head", el("meta", charset="utf-8"), el("title", TITLE), raw(f"<style>{STYLE}</style>")
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n{head}\n<body>\n{body}\n</body></html>\n'


def _shown(title: str, note: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Markup:
    said = el("p", note, class_="note")
    return el("section", el("h3", title), said, table(list(header), map(list, rows)), class_="card")


def _every(found: Records) -> Markup:
    header = ["point", "MiB received", "in flight", "M cycles", "MiB of temporaries"]
    rows = ([id, mib(r), flight(r), cycles(r), memory(r)] for id, r in found.items())
    return table(header, rows)
