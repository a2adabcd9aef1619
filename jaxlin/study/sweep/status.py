"""Where a sweep stands: states by cell, what runs now, how long it will take. Imports no jax."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

from jaxlin.config.points import SEED, Resolved
from jaxlin.study.sweep.folder import Sweep
from jaxlin.study.sweep.queue import RUNS, STATES, Event, Queue
from jaxlin.study.sweep.results import Line
from jaxlin.train.progress import duration
from jaxlin.train.records import METRICS, starts

TAIL = 65_536  # bytes of metrics.jsonl that hold its last records


class Now(NamedTuple):
    """A point: its state, and the last step that it recorded, if any."""

    point: Resolved
    state: str
    step: int
    loss: float | None
    left: float | None  # seconds
    together: int = 1  # points in its process


class Overview(NamedTuple):
    """All points, and the seconds that are left (None: nothing to go by)."""

    points: list[Now]
    left: float | None

    def counts(self) -> Counter[str]:
        """Points by state."""
        return Counter(now.state for now in self.points)

    def headline(self) -> str:
        """One line."""
        counts = self.counts()
        parts = [f"{counts[s]} {s}" for s in STATES if counts[s]]
        text = f"{len(self.points)} points: {', '.join(parts)}"
        return f"{text}; about {duration(self.left)} left" if self.left else text


def overview(sweep: Sweep, queue: Queue, known: Mapping[str, Line], parallel: int = 1) -> Overview:
    """The sweep as it is now. `known`: results so far, whose seconds measure the rest."""
    states = queue.states(one.id for one in sweep.points)
    found = [_now(sweep.folder, one, states[one.id], known.get(one.id)) for one in sweep.points]
    return Overview(found, left(found, known, parallel))


def left(points: Sequence[Now], known: Mapping[str, Line], parallel: int) -> float | None:
    """Seconds until all are done: of each the median of the done points of its cell, or of all."""
    done = [line for line in known.values() if line["status"] == "done" and line["seconds"]]
    total = 0.0
    for now in points:
        if now.state == "running" and now.left is not None:
            total += now.left / now.together
        elif now.state in ("running", "pending"):
            same = [line["seconds"] for line in done if line["group"] == now.point.group]
            seconds = same or [line["seconds"] for line in done]
            if not seconds:
                return None
            total += median(seconds)
    return total / parallel


def rows(points: Iterable[Now]) -> list[list[str]]:
    """Header and one row a cell: the points whose labels differ in their seed alone."""
    cells: dict[tuple[tuple[str, Any], ...], list[Now]] = {}
    for now in points:
        cells.setdefault(cell(now.point), []).append(now)
    names = list(dict.fromkeys(name for labels in cells for name, _ in labels))
    header = [*(names or ["point"]), *STATES, "step", "loss", "left"]
    return [header, *(_row(dict(labels), names, nows) for labels, nows in cells.items())]


def cell(one: Resolved) -> tuple[tuple[str, Any], ...]:
    """The labels of a point without its seed; its name where it has none."""
    labels = tuple((k, v) for k, v in one.point.labels.items() if k != SEED)
    return labels or (("point", one.point.name),)


def _row(labels: Mapping[str, Any], names: Sequence[str], nows: Sequence[Now]) -> list[str]:
    counts = Counter(now.state for now in nows)
    running = [now for now in nows if now.state == "running"]
    losses = [now.loss for now in running or nows if now.loss is not None]
    rest = [now.left for now in running if now.left is not None]
    steps = [now.step for now in running]
    return [
        *(str(labels.get(name, "")) for name in names or ["point"]),
        *(str(counts[state] or "") for state in STATES),
        f"{min(steps)}/{running[0].point.cfg.steps}" if steps else "",
        f"{mean(losses):.4f}" if losses else "",
        duration(max(rest)) if rest else "",
    ]


def _now(folder: Path, one: Resolved, event: Event, line: Line | None) -> Now:
    if event.state != "running":
        loss = line["final"].get("train.loss") if line else None
        return Now(one, event.state, 0, loss, None)
    last = newest(folder / RUNS / one.id)
    step, seconds = last.get("step", 0), last.get("seconds_per_step")
    together = _together(folder / RUNS / one.id)
    rest = None
    if isinstance(seconds, int | float):
        rest = (one.cfg.steps - step) * seconds * together  # a run records its share
    return Now(one, "running", step, last.get("loss"), rest, together)


def _together(run: Path) -> int:
    try:
        return int(starts(run)[-1].get("together", 1))
    except (OSError, ValueError, IndexError):
        return 1


def newest(run: Path) -> Mapping[str, Any]:
    """The last step that a run recorded; empty if it has none."""
    try:
        with (run / METRICS).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for text in reversed(lines):
        try:
            record = json.loads(text)
        except ValueError:
            continue  # being written, or cut at the front
        if isinstance(record, dict) and record.get("kind") == "train":
            return record
    return {}
