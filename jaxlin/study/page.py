"""Runs as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxlin.study import document, figures, layers, tables, words
from jaxlin.study.document import plots, switch
from jaxlin.study.figures import Figure
from jaxlin.study.html import Markup, details, el
from jaxlin.study.runs import Run

GENERATOR = "jaxlin report"


def write(path: Path, text: str) -> None:
    """The page as a file. Raises ConfigError as `document.write` does."""
    document.write(path, text, GENERATOR)


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
    return document.whole(", ".join(run.label for run in runs), GENERATOR, body, drawn)


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
    steps = switch([("steps", {"data_x": "steps"}), ("tokens", {"data_x": "tokens"})], "steps")
    bar = el("div", el("span", "x axis", class_="soft"), steps, class_="bar")
    return el("section", el("h2", "Training"), bar, plots(found, drawn, wide=("loss",)))


def _memory(runs: list[Run], drawn: list[Figure]) -> Markup | None:
    if not any(run.of("stats") for run in runs):
        return None
    parts = [
        el("h2", "Memory of the layers"),
        plots(layers.by_depth(runs), drawn, wide=("depth-half_life",)),
    ]
    for i, run in enumerate(runs):
        if found := layers.along_training(run, i):
            parts += [
                el("h2", f"Layers along training: {run.label}"),
                el("p", "A line a layer, from the first (blue) to the last (red).", class_="note"),
                plots(found, drawn),
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
