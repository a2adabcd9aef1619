"""results.jsonl: one line a finished point, made from its run directory, so that it can be made
again. Imports no jax."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxlin.config.errors import JaxlinError
from jaxlin.config.pattern import resolve
from jaxlin.config.points import Resolved
from jaxlin.study import runs
from jaxlin.study.runs import Record, Run
from jaxlin.study.series import points, thin
from jaxlin.study.sweep import costs
from jaxlin.study.sweep.folder import Sweep
from jaxlin.study.sweep.queue import RUNS, Event, Queue
from jaxlin.train import records
from jaxlin.train.lock import LOCK

RESULTS = "results.jsonl"
MOST = 100  # points of a curve
DIGITS = 4
COUNTS = ("step", "tokens", "bytes", "words", "examples")  # of a record; no result
TRAINED = ("loss", "grad_norm", "skipped")  # what of a step is a result
Line = dict[str, Any]


def collect(sweep: Sweep, queue: Queue, known: Mapping[str, Line] | None = None) -> list[Line]:
    """Writes results.jsonl: a line for each point that is done or has failed, in the order of the
    points. `known`: lines that are taken as they are."""
    states = queue.states(one.id for one in sweep.points)
    lines = []
    for one in sweep.points:
        event = states[one.id]
        if event.state in ("done", "failed"):
            old = (known or {}).get(one.id)
            kept = old is not None and old["status"] == "done" == event.state
            lines.append(old if kept else line(sweep.folder, one, event))
    text = "".join(json.dumps(found) + "\n" for found in lines)
    records.write_text(sweep.folder / RESULTS, text)
    return [found for found in lines if found is not None]


def reconcile(sweep: Sweep, queue: Queue) -> list[str]:
    """Marks as done the points whose runs are whole though the queue does not say so, as when jobs
    could not write to it; their ids."""
    states = queue.states(one.id for one in sweep.points)
    left = [one for one in sweep.points if states[one.id].state in ("pending", "running")]
    found = [one.id for one in left if _whole(sweep.folder / RUNS / one.id, one.cfg.steps)]
    if found:
        queue.add(found, "done")
    return found


def read(folder: Path) -> dict[str, Line]:
    """The lines of results.jsonl by id; those that are none are left out."""
    path = folder / RESULTS
    found = {}
    content = path.read_bytes() if path.is_file() else b""
    for text in content.splitlines():
        try:
            value = json.loads(text)
        except ValueError:
            continue
        if isinstance(value, dict) and isinstance(value.get("id"), str) and "status" in value:
            found[value["id"]] = value
    return found


def line(folder: Path, one: Resolved, event: Event) -> Line:
    """What is known of a point that is over; a failed one may have left no run directory."""
    run = _run(folder / RUNS / one.id)
    start: Record = run.starts[-1] if run and run.starts else {}
    return {
        "id": one.id,
        "name": one.point.name,
        "labels": dict(one.point.labels),
        "hash": one.hash,
        "group": one.group,
        "preset": one.point.preset,
        "overrides": list(one.point.overrides),
        "status": event.state,
        "reason": event.reason if event.state == "failed" else None,
        "seconds": round(sum(run.seconds.values()), 3) if run else None,
        "parameters": run.parameters.get("totals", {}).get("parameters") if run else None,
        "tokens": run.step * run.tokens_per_step if run else 0,
        "versions": start.get("versions"),
        "git": start.get("git"),
        "layers": [mixer.kind for mixer in resolve(one.cfg.model)],
        "accounting": costs.read(folder / RUNS / one.id),
        "final": dict(final(run)) if run else {},
        "curves": dict(curves(run)) if run else {},
        "grids": dict(grids(run)) if run else {},
    }


def final(run: Run) -> Iterator[tuple[str, float]]:
    """The numbers of the last records, by flat names such as train.loss or task.mqar.accuracy."""
    for name, kept in _kinds(run):
        last = kept[-1]
        chosen = {k: last[k] for k in TRAINED if k in last} if name == "train" else last
        yield from _numbers(chosen, name)


def curves(run: Run) -> Iterator[tuple[str, list[tuple[int, float | None]]]]:
    """[step, value] of losses and accuracies, thinned."""
    for name, kept in _kinds(run):
        for field in ("accuracy", "exact") if name.startswith("task.") else ("loss",):
            found = [(step, _short(value)) for step, value in thin(points(kept, field), MOST)]
            if found:
                yield f"{name}.{field}", found


def grids(run: Run) -> Iterator[tuple[str, Any]]:
    """The last heat map of each task that has one."""
    for name, kept in _kinds(run):
        if isinstance(kept[-1].get("grid"), dict):
            yield name, kept[-1]["grid"]


def _whole(run: Path, steps: int) -> bool:
    return not (run / LOCK).exists() and records.finished(run, steps)


def _kinds(run: Run) -> Iterator[tuple[str, list[Record]]]:
    """train, eval, and task.NAME for each task, with their records."""
    for kind in ("train", "eval"):
        if run.of(kind):
            yield kind, run.of(kind)
    tasks: dict[str, list[Record]] = {}
    for record in run.of("task"):
        if isinstance(record.get("task"), str):
            tasks.setdefault(record["task"], []).append(record)
    for task, kept in tasks.items():
        yield f"task.{task}", kept


def _numbers(values: Mapping[str, Any], name: str) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and key != "grid":
            yield from _numbers(value, f"{name}.{key}")
        elif isinstance(value, int | float) and not isinstance(value, bool) and key not in COUNTS:
            if math.isfinite(value):
                yield f"{name}.{key}", value


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _run(folder: Path) -> Run | None:
    try:
        return next(iter(runs.read([folder])))
    except JaxlinError:
        return None


def groups(points: Iterable[Resolved]) -> dict[str, list[Resolved]]:
    """Points that differ in their seed alone, by the hash of the rest."""
    found: dict[str, list[Resolved]] = {}
    for one in points:
        found.setdefault(one.group, []).append(one)
    return found
