"""What is beside the curves: differences of configs and environments, parameters, samples."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from jaxlin.config.plain import show
from jaxlin.study.html import Markup, details, el, table
from jaxlin.study.runs import Record, Run, flat

KNOWN = ("train", "eval", "stats", "sample", "goodput", "start")
MANY = 200  # other records that are listed


def compared(runs: list[Run], values: Callable[[Run], Any]) -> tuple[Markup | None, Markup]:
    """(the rows that differ, or None for one run or none; all rows with those highlighted)."""
    columns = [flat(values(run)) for run in runs]
    paths = list(dict.fromkeys(path for column in columns for path in column))
    rows = [[path, *(_cell(column, path) for column in columns)] for path in paths]
    differing = [i for i, row in enumerate(rows) if len(set(row[1:])) > 1]
    header = ["", *(run.label for run in runs)]
    few = table(header, [rows[i] for i in differing]) if differing else None
    return few, table(header, rows, differing)


def parameters(run: Run) -> Markup | None:
    """Counts by part of the model, and who trains them."""
    rows = run.parameters.get("rows", [])
    if not rows:
        return None
    counts: Counter[str] = Counter()
    trained: dict[str, set[str]] = {}
    for row in rows:
        part = _part(row["path"])
        counts[part] += row["count"]
        trained.setdefault(part, set()).add(row["optimizer"])
    whole = sum(counts.values())
    lines = [
        [part, f"{count:,}", f"{count / whole:.1%}", ", ".join(sorted(trained[part]))]
        for part, count in counts.most_common()
    ]
    return table(["part", "parameters", "share", "trained by"], [*lines, ["all", f"{whole:,}"]])


def samples(run: Run) -> Markup | None:
    """The newest sample open, the earlier ones folded away."""
    written = [_sample(record) for record in reversed(run.of("sample"))]
    if not written:
        return None
    earlier = details(f"{len(written) - 1} earlier", written[1:]) if written[1:] else None
    return el("div", written[0], earlier, class_="samples")


def other_records(run: Run) -> Markup | None:
    """Records of kinds that no section shows, such as what a guard did."""
    rows = [
        [r["step"], kind, _json({k: v for k, v in r.items() if k not in ("kind", "step")})]
        for kind, found in run.records.items()
        if kind not in KNOWN
        for r in found
    ]
    if not rows:
        return None
    rest = f"and {len(rows) - MANY:,} more in metrics.jsonl" if len(rows) > MANY else None
    return el("div", table(["step", "kind", "values"], rows[:MANY]), el("p", rest))


def crash(run: Run) -> Markup | None:
    """What an abnormal end left behind."""
    return el("pre", json.dumps(run.crash, indent=2)) if run.crash else None


def _part(path: str) -> str:
    """'blocks_0/layer_2/mixer/q/kernel' -> 'layers: mixer/q'."""
    names = path.split("/")
    if names[0].startswith("blocks_") and len(names) > 3:
        return "layers: " + "/".join(names[2:-1] or names[2:])
    return names[0]


def _sample(record: Record) -> Markup:
    prompt, written = record.get("prompt", ""), record.get("text", "")
    text = el("pre", el("span", prompt, class_="prompt"), written)
    return el("figure", el("figcaption", f"step {record['step']:,}"), text)


def _cell(column: dict[str, Any], path: str) -> str:
    value = column.get(path, "–")
    return value if isinstance(value, str) else show(value, limit=200)


def _json(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 300 else text[:300] + "…"
