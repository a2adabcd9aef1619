"""Runs as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shlex
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from jaxlin.config.errors import ConfigError
from jaxlin.study import figures, layers, tables, words
from jaxlin.study.figures import Figure
from jaxlin.study.html import Markup, details, el, raw
from jaxlin.study.runs import Run
from jaxlin.study.script import SCRIPT
from jaxlin.study.style import STYLE

GENERATOR = "jaxlin report"
MARK = f'<meta name="generator" content="{GENERATOR}">'.encode()


def write(path: Path, text: str) -> None:
    """The page as a file, all of it or nothing.

    Raises ConfigError when it cannot be written, or when the file is there and is no such page.
    """
    partial = path.with_name(f".{path.name}.tmp")
    try:
        if path.exists():
            with path.open("rb") as file:
                if MARK not in file.read(1000):
                    raise ConfigError(
                        f"--out: {path} exists and is no page of `jaxlin report`; it was left as "
                        "it is. Name another file"
                    )
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise ConfigError(f"--out: {path} cannot be written: {error}; name another file") from error


def page(runs: list[Run]) -> str:
    """The whole page."""
    drawn: list[Figure] = []
    body = el(
        "main",
        _headline(runs),
        _training(runs, drawn),
        _memory(runs, drawn),
        _samples(runs),
        _differences(runs),
        _more(runs),
    )
    plotly = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
    scripts = [plotly, SCRIPT] if drawn else []
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            _head(", ".join(run.label for run in runs), scripts),
            "<body>",
            body,
            f'<script type="application/json" id="figures">{_json(drawn)}</script>',
            *(f"<script>{script}</script>" for script in scripts),
            "</body></html>\n",
        ]
    )


def _head(title: str, scripts: list[str]) -> Markup:
    """Only these scripts may run, and nothing may be loaded."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    policy = (
        f"default-src 'none'; script-src {allowed or "'none'"}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return el(
        "head",
        el("meta", charset="utf-8"),
        raw(MARK.decode()),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{title} – jaxlin report"),
        raw(f"<style>{STYLE}</style>"),
    )


def _headline(runs: list[Run]) -> Markup:
    title = runs[0].label if len(runs) == 1 else f"{len(runs)} runs side by side"
    cards = _cards((_card(i, run, alone=len(runs) == 1) for i, run in enumerate(runs)), runs)
    return el("header", el("h1", title), el("p", _summary(runs), class_="soft"), cards)


def _summary(runs: list[Run]) -> str:
    if len(runs) == 1:
        return (
            f"{words.architecture(runs[0])} · {words.standing(runs[0])} · {words.result(runs[0])}"
        )
    scored = [r for r in runs if isinstance(r.last("eval").get("loss"), float)]
    if not scored:
        return "none of them is evaluated yet"
    best = min(scored, key=lambda run: run.last("eval")["loss"])
    return f"the lowest: {best.label}, {words.result(best)}"


def _card(i: int, run: Run, alone: bool) -> Markup:
    keys = (el("div", el("b", value), el("span", what)) for value, what in words.key_figures(run))
    lines = (words.architecture(run), words.standing(run))
    said = [el("h3", run.label), *(el("p", line, class_="soft") for line in lines)]
    return el(
        "section",
        None if alone else said,
        el("div", keys, class_="keys"),
        class_="card",
        style=f"--run: {figures.color(i)}",
    )


def _training(runs: list[Run], drawn: list[Figure]) -> Markup:
    found = figures.curves(runs)
    if not found:
        return el("section", el("h2", "Training"), el("p", "No metrics are recorded yet."))
    switch = _switch([("steps", {"data_x": "steps"}), ("tokens", {"data_x": "tokens"})], "steps")
    bar = el("div", el("span", "x axis", class_="soft"), switch, class_="bar")
    return el("section", el("h2", "Training"), bar, _plots(found, drawn, wide=("loss",)))


def _memory(runs: list[Run], drawn: list[Figure]) -> Markup | None:
    if not any(run.of("stats") for run in runs):
        return None
    parts = [
        el("h2", "Memory of the layers"),
        _plots(layers.by_depth(runs), drawn, wide=("depth-half_life",)),
    ]
    for i, run in enumerate(runs):
        if found := layers.along_training(run, i):
            parts += [
                el("h2", f"Layers along training: {run.label}"),
                el("p", "A line a layer, from the first (blue) to the last (red).", class_="note"),
                _plots(found, drawn),
            ]
    return el("section", parts)


def _samples(runs: list[Run]) -> Markup | None:
    found = [(run, shown) for run in runs if (shown := tables.samples(run))]
    if not found:
        return None
    cards = (_box(run, runs, shown) for run, shown in found)
    note = "Grey: held-out text that the model goes on from; the same random draws each time."
    return el("section", el("h2", "Samples"), el("p", note, class_="note"),
              _cards(cards, runs))  # fmt: skip


def _differences(runs: list[Run]) -> Markup:
    parts = []
    for title, values in (("Config", _config), ("Environment", _environment)):
        few, whole = tables.compared(runs, values)
        shown = few or (el("p", "No difference.", class_="soft") if len(runs) > 1 else None)
        parts.append(el("div", el("h3", title), shown, details("all of it", whole), class_="card"))
    heading = "Config and environment" if len(runs) == 1 else "What differs"
    return el("section", el("h2", heading), el("div", parts, class_="cards"))


def _more(runs: list[Run]) -> Markup:
    """Parameters, restarts, and whatever else a run left."""
    cards = []
    for run in runs:
        starts = ", ".join(f"step {start.get('step', '?')}" for start in run.starts)
        found = (
            (f"Parameters: {_count(run)}", tables.parameters(run)),
            ("Last crash", tables.crash(run)),
            ("Other records", tables.other_records(run)),
            (f"Starts: {len(run.starts)}", el("p", starts) if starts else None),
        )
        folded = [details(title, shown) for title, shown in found if shown]
        cards.append(_box(run, runs, el("p", str(run.folder), class_="soft"), folded))
    return el("section", el("h2", "Details"), _cards(cards, runs))


def _plots(found: Iterable[Figure], drawn: list[Figure], wide: tuple[str, ...] = ()) -> Markup:
    found = list(found)
    drawn += found
    return el("div", (_plot(figure, figure.id in wide) for figure in found), class_="plots")


def _plot(figure: Figure, wide: bool) -> Markup:
    scales = None
    if figure.scales:
        now = figure.layout["yaxis"]["type"]
        options = [
            (scale, {"data_scale": scale, "data_figure": figure.id}) for scale in ("linear", "log")
        ]
        scales = _switch(options, now)
    head = el("div", el("h3", figure.title), el("span", figure.unit, class_="unit"), scales,
              class_="head")  # fmt: skip
    chart = el("div", id=figure.id, class_="chart short" if "height" in figure.layout else "chart")
    note = el("p", figure.note, class_="note")
    return el("section", head, chart, note, class_="plot wide" if wide else "plot")


def _switch(options: list[tuple[str, dict[str, str]]], now: str) -> Markup:
    buttons = (
        el("button", label, type="button", aria_pressed=str(label == now).lower(), **data)
        for label, data in options
    )
    return el("span", buttons, class_="switches")


def _cards(cards: Iterable[Markup], runs: list[Run]) -> Markup:
    """One beside the other where there is room."""
    return el("div", cards, class_="cards many" if len(runs) > 1 else "cards")


def _box(run: Run, runs: list[Run], *children: Any) -> Markup:
    style = f"--run: {figures.color(runs.index(run))}"
    return el("div", el("h3", run.label), *children, class_="card", style=style)


def _count(run: Run) -> str:
    totals = run.parameters.get("totals", {})
    whole, trained = totals.get("parameters", 0), totals.get("trained", 0)
    return f"{whole:,}" + ("" if trained == whole else f", {trained:,} of them trained")


def _config(run: Run) -> Any:
    return run.config


def _environment(run: Run) -> Any:
    """Of the last start."""
    last = dict(run.starts[-1]) if run.starts else {}
    if isinstance(last.get("command"), list):
        last["command"] = shlex.join(map(str, last["command"]))
    return last


def _json(drawn: list[Figure]) -> str:
    """JSON that cannot end the script element it stands in."""
    plain = [{"id": f.id, "data": f.data, "layout": f.layout} for f in drawn]
    return json.dumps(plain, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
