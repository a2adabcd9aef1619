"""A run in words and key figures."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import Any

from jaxlin.config.errors import ConfigError
from jaxlin.config.pattern import resolve
from jaxlin.study.runs import Run


def architecture(run: Run) -> str:
    """'4 layers (3 gated_deltanet, 1 softmax), width 128'."""
    model = run.cfg.model
    try:
        kinds = Counter(mixer.kind for mixer in resolve(model))
    except ConfigError:  # a kind that this program does not know
        return f"{model.layers} layers, width {model.width}"
    mixed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return f"{model.layers} layers ({mixed}), width {model.width}"


def standing(run: Run) -> str:
    """How far it is."""
    if not run.step:
        return "nothing recorded yet"
    if run.step >= run.cfg.steps:
        return f"finished: {run.step:,} steps"
    when = f"; last record {run.written:%Y-%m-%d %H:%M} UTC" if run.written else ""
    return f"at step {run.step:,} of {run.cfg.steps:,}{when}"


def result(run: Run) -> str:
    """The newest held-out loss, or what is known instead."""
    last = run.last("eval")
    if not last:
        value = run.last("train").get("loss")
        return "not evaluated yet" + ("" if value is None else f"; training loss {value:.4f}")
    parts = [f"held-out loss {_number(last.get('loss'), '.4f')}"]
    if last.get("bits_per_byte") is not None:
        parts.append(f"{last['bits_per_byte']:.4f} bits per byte")
    return ", ".join(parts) + f" at step {last['step']:,}"


def key_figures(run: Run) -> list[tuple[str, str]]:
    """(value, what it is), the most telling first."""
    held_out, train = run.last("eval"), run.of("train")
    speeds = [r["tokens_per_second"] for r in train if r.get("tokens_per_second")]
    wall = sum(run.seconds.values())
    totals = run.parameters.get("totals", {})
    gaps = sum(1 for r in train if "loss" in r and r["loss"] is None)
    found = [
        (_number(held_out.get("loss"), ".4f"), "held-out loss"),
        (_number(held_out.get("bits_per_byte"), ".4f"), "bits per byte"),
        (_number(run.last("train").get("loss"), ".4f"), "training loss"),
        (short(run.step * run.tokens_per_step), "tokens seen"),
        (short(median(speeds)) if speeds else "–", "tokens per second"),
        (short(totals.get("parameters")), "parameters"),
        (f"{run.seconds.get('step', 0) / wall:.0%}" if wall else "–", "goodput"),
        (duration(wall) if wall else "–", "wall time"),
    ]
    if run.lost:
        found.append((f"{run.lost:,}", "steps lost to restarts"))
    if gaps:
        found.append((f"{gaps:,}", "losses not finite"))
    return found


def short(value: Any) -> str:
    """'1.01 M'."""
    if not isinstance(value, int | float):
        return "–"
    for size, unit in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """'42 s', '12 min', '3 h 20 min', '2 d 5 h'."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _number(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else "–"
