"""What the memory of each recurrent layer does: by depth at the end, and along training."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxlin.study.figures import Figure, color, name
from jaxlin.study.runs import Run
from jaxlin.study.series import points, thin, xy

DEPTHS = ((0x4F, 0x6B, 0xED), (0x12, 0xA5, 0x96), (0xD9, 0x9A, 0x1E), (0xE0, 0x46, 0x6B))
NAMED = 8  # layers that still fit a legend


class Quantity(NamedTuple):
    """What jaxlin.analysis.state records of a layer, and how it is shown."""

    key: str
    title: str
    unit: str
    note: str
    statistic: str
    scale: str


QUANTITIES = (
    Quantity("half_life", "State half-life", "tokens", "ln 2 / -log decay; median.", "q50", "log"),
    Quantity("decay", "Decay", "kept a token", "Share of the state; mean.", "mean", "linear"),
    Quantity("write_strength", "Write strength", "β", "Of the delta rule; mean.", "mean", "linear"),
    Quantity("output_gate", "Output gate", "factor", "What the read-out is multiplied with; mean.",
             "mean", "linear"),
    Quantity("state_norm", "State norm", "L2",
             "Of a head's state at the end of a window; mean.", "mean", "log"),
)  # fmt: skip


def by_depth(runs: list[Run]) -> list[Figure]:
    """Median with the range of 5% to 95%, a figure a quantity, all runs beside each other."""
    found = []
    for q in QUANTITIES:
        data = [trace for i, run in enumerate(runs) if (trace := _ranges(run, i, q))]
        layout = {
            "xaxis": {"title": {"text": "layer"}, "dtick": 1 if _deepest(runs) < 25 else None},
            "yaxis": {"type": q.scale},
        }
        note = "Median and range from 5% to 95% over tokens, heads and channels."
        if data:
            title = f"{q.title} by layer"
            found.append(Figure(f"depth-{q.key}", title, q.unit, note, data, layout))
    return found


def along_training(run: Run, i: int) -> list[Figure]:
    """A line a layer, a figure a quantity; blue is the first layer, red the last."""
    found = []
    for q in QUANTITIES:
        layers = _layers(run, q.key)
        data = [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name(f"layer {layer} {mixer}"),
                "meta": run.tokens_per_step,
                "line": {"color": _depth_color(n, len(layers)), "width": 2},
                "marker": {"size": 5},
                **xy(thin(points(run.of("stats"), "layers", layer, q.key, q.statistic))),
            }
            for n, (layer, mixer) in enumerate(layers.items())
        ]
        layout = {
            "xaxis": {"title": {"text": "step"}},
            "yaxis": {"type": q.scale},
            "showlegend": len(data) <= NAMED,
        }
        if data:
            id = f"run{i}-{q.key}"
            found.append(Figure(id, q.title, q.unit, q.note, data, layout, scales=True))
    return found


def _layers(run: Run, key: str) -> dict[str, str]:
    """Depth -> mixer of the layers that have the quantity."""
    layers = run.last("stats").get("layers", {})
    return {depth: layer["mixer"] for depth, layer in layers.items() if key in layer}


def _ranges(run: Run, i: int, q: Quantity) -> dict[str, Any] | None:
    layers = run.last("stats").get("layers", {})
    rows = [(int(depth), layers[depth][q.key]) for depth in _layers(run, q.key)]
    rows = [(depth, s) for depth, s in rows if s.get("q50") is not None]
    if not rows:
        return None
    middle = [s["q50"] for _, s in rows]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name(run.label),
        "x": [depth + 0.08 * i for depth, _ in rows],
        "y": middle,
        "customdata": [[s["q05"], s["q95"], depth] for depth, s in rows],
        "hovertemplate": "layer %{customdata[2]}: %{y:.4g} "
        "(%{customdata[0]:.4g} to %{customdata[1]:.4g})<extra>%{fullData.name}</extra>",
        "marker": {"color": color(i), "size": 9},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": _reach(middle, [s.get("q95") for _, s in rows]),
            "arrayminus": _reach(middle, [s.get("q05") for _, s in rows]),
            "thickness": 1.5,
            "width": 4,
        },
    }


def _reach(middle: list[float], ends: list[float | None]) -> list[float]:
    """Lengths of bars; none where the end is infinite."""
    return [0.0 if e is None else abs(e - m) for m, e in zip(middle, ends, strict=True)]


def _deepest(runs: list[Run]) -> int:
    return max((int(d) for run in runs for d in run.last("stats").get("layers", {})), default=0)


def _depth_color(n: int, count: int) -> str:
    """Between the anchors, by depth."""
    place = (len(DEPTHS) - 1) * (n / max(1, count - 1))
    left = min(int(place), len(DEPTHS) - 2)
    mix = [
        round(a + (b - a) * (place - left))
        for a, b in zip(DEPTHS[left], DEPTHS[left + 1], strict=True)
    ]
    return "#" + "".join(f"{part:02x}" for part in mix)
