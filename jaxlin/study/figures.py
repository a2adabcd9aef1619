"""The curves of runs, overlaid: loss, evaluation, speed, learning rate, gradient, wall time.

A figure is what Plotly's JavaScript takes, as plain data; colours that depend on the light or dark
of the page are added there.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from jaxlin.study.runs import Run
from jaxlin.study.series import Point, points, smooth, thin, xy
from jaxlin.train.goodput import PHASES

COLORS = ("#3b82f6", "#f0803c", "#17a673", "#a06bf0", "#e0526c", "#c99a1c", "#12a5bd", "#d65fb5")
PHASE_COLORS = {
    "step": "#17a673",
    "compile": "#a06bf0",
    "input": "#12a5bd",
    "save": "#3b82f6",
    "eval": "#c99a1c",
    "other": "#8b95a5",
    "lost": "#e0526c",
}
FEW = 60  # points that are drawn as they are


@dataclass(frozen=True)
class Figure:
    """A plot with its title and what to know of it. `scales`: the y axis can be switched to log."""

    id: str
    title: str
    unit: str
    note: str
    data: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)
    scales: bool = False


def color(i: int) -> str:
    """Of the i-th run."""
    return COLORS[i % len(COLORS)]


def name(label: str) -> str:
    """A label as Plotly takes it, which reads some HTML in texts."""
    return html.escape(label, quote=False)


def line(run: Run, curve: list[Point], i: int, **style: Any) -> dict[str, Any]:
    """A trace over steps; `meta` is what turns steps into tokens."""
    trace = {"type": "scatter", "mode": "lines", "name": name(run.label), "legendgroup": str(i)}
    marks = {"line": {"color": color(i), "width": 2}, "marker": {"color": color(i)}}
    return {**trace, **marks, "meta": run.tokens_per_step, **xy(thin(curve)), **style}


def loss(runs: list[Run]) -> Figure:
    """Training loss as logged and smoothed, held-out loss."""
    data = []
    for i, run in enumerate(runs):
        train, held_out = points(run.of("train"), "loss"), points(run.of("eval"), "loss")
        if len(train) > FEW:
            thick = {"line": {"color": color(i), "width": 1}, "opacity": 0.35}
            data.append(line(run, train, i, showlegend=False, hoverinfo="skip", **thick))
            train = smooth(train)
        if train:
            data.append(line(run, train, i))
        if held_out:
            style = {"mode": "lines+markers", "line": {"color": color(i), "dash": "dot"}}
            marker = {"color": color(i), "size": 8, "symbol": "diamond"}
            label = name(run.label) + " held out"
            data.append(line(run, held_out, i, **style, marker=marker) | {"name": label})
    note = (
        "Line: training; of many points (faint) a running mean over 2% of them. "
        "Diamonds: held-out text."
    )
    return Figure("loss", "Loss", "nats per token", note, data, _steps(), scales=True)


def curve(
    runs: list[Run], id: str, title: str, unit: str, note: str, *path: str, **options: Any
) -> Figure:
    """One curve a run: the values at `path` (kind, then names) of its records."""
    mode = options.pop("mode", "lines")
    data = [
        line(run, found, i, mode=mode if len(found) > 1 else "markers")
        for i, run in enumerate(runs)
        if (found := points(run.of(path[0]), *path[1:]))
    ]
    return Figure(id, title, unit, note, data, _steps(options.get("type")), scales=True)


def position(runs: list[Run]) -> Figure:
    """Held-out loss by how much of the document was seen, at the last evaluation."""
    data = []
    for i, run in enumerate(runs):
        parts = run.last("eval").get("by_position") or []
        xs, ys = [p["first"] for p in parts], [p["loss"] for p in parts]
        if parts:
            data.append(line(run, [], i, mode="lines+markers", x=xs, y=ys))
            del data[-1]["meta"]
    layout = {"xaxis": {"title": {"text": "tokens seen of the document"}, "type": "log"}}
    note = "At the last evaluation. A model that uses its context goes down to the right."
    return Figure("position", "Held-out loss by context", "nats per token", note, data, layout)


def goodput(runs: list[Run]) -> Figure:
    """Share of wall time by phase."""
    runs = [run for run in runs if sum(run.seconds.values()) > 0]
    data = []
    for phase in ("step", *(p for p in PHASES if p not in ("step", "other")), "other", "lost"):
        spent = [run.seconds.get(phase, 0.0) for run in runs]
        if not any(spent):
            continue
        share = [100 * s / sum(run.seconds.values()) for s, run in zip(spent, runs, strict=True)]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": "lost steps" if phase == "lost" else phase,
                "y": [name(run.label) for run in runs],
                "x": [round(s, 3) for s in share],
                "customdata": [round(s, 2) for s in spent],
                "hovertemplate": "%{x:.1f}% · %{customdata:,} s<extra>%{fullData.name}</extra>",
                "marker": {"color": PHASE_COLORS[phase]},
            }
        )
    layout = {
        "barmode": "stack",
        "xaxis": {"title": {"text": "% of wall time"}, "range": [0, 100]},
        "yaxis": {"autorange": "reversed", "automargin": True},
        "showlegend": True,
        "hovermode": "closest",
        "legend": {"traceorder": "normal"},
    }
    note = (
        "What the host did or waited for, over all starts: “step” is waiting for the device. The "
        "time of lost steps, which were done again after a restart, is an estimate: their number "
        "times the median time of a step."
    )
    return Figure("goodput", "Goodput", "share of wall time", note, data, layout)


def curves(runs: list[Run]) -> list[Figure]:
    """All figures over steps and the ones beside them that have anything to show."""
    make: Iterable[Callable[[], Figure]] = (
        lambda: loss(runs),
        lambda: curve(
            runs, "bits", "Held-out bits per byte", "bits", "Of text, whatever the tokenizer.",
            "eval", "bits_per_byte", mode="lines+markers",
        ),
        lambda: position(runs),
        lambda: curve(
            runs, "speed", "Throughput", "tokens per second",
            "All devices, without evaluations and saves.", "train", "tokens_per_second",
        ),
        lambda: curve(runs, "rate", "Learning rate", "", "The schedule's.", "train", "lr"),
        lambda: curve(
            runs, "gradient", "Gradient norm", "L2", "Of all trained parameters, before clipping.",
            "train", "grad_norm", type="log",
        ),
        lambda: goodput(runs),
    )  # fmt: skip
    return [figure for build in make if (figure := build()).data]


def _steps(y: str | None = None) -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": "step"}},
        "yaxis": {"type": y or "linear"},
        "hovermode": "x unified",
    }
