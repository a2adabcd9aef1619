"""What a run left on disk, read for looking at. Imports no jax."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from jaxlin.config.plain import plain
from jaxlin.config.run import RunConfig
from jaxlin.train import records
from jaxlin.train.goodput import attempts

Record = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One run directory. `records`: kind -> records that stand, in the order of steps."""

    label: str
    folder: Path
    cfg: RunConfig
    config: dict[str, Any]  # the same as plain data
    records: dict[str, list[Record]]
    seconds: dict[str, float]  # wall time by phase over all starts, "lost" among them
    lost: int  # steps done again
    starts: list[Record]  # environment.json
    parameters: dict[str, Any]
    crash: Any  # crash.json
    written: datetime | None  # when metrics.jsonl last grew

    def of(self, kind: str) -> list[Record]:
        """The records of a kind."""
        return self.records.get(kind, [])

    def last(self, kind: str) -> Record:
        """The newest record of a kind, or an empty one."""
        return (self.of(kind) or [{}])[-1]

    @property
    def step(self) -> int:
        """Steps done, as far as recorded."""
        return self.last("train").get("step", 0)

    @property
    def tokens_per_step(self) -> int:
        """Over all devices."""
        return self.cfg.batch * self.cfg.context


def read(folders: Iterable[Path]) -> list[Run]:
    """The runs, under labels that differ. Raises CheckpointError for a folder that is none."""
    folders = list(dict.fromkeys(folder.resolve() for folder in folders))
    return [_read(folder, label) for folder, label in zip(folders, labels(folders), strict=True)]


def labels(folders: list[Path]) -> list[str]:
    """Folder names, with as many parents as it takes to tell them apart."""
    depth = 1
    while depth < max((len(f.parts) for f in folders), default=1):
        names = ["/".join(f.parts[-depth:]) for f in folders]
        if len(set(names)) == len(names):
            return names
        depth += 1
    return [str(f) for f in folders]


def _read(folder: Path, label: str) -> Run:
    cfg = records.read_config(folder)
    path = folder / records.METRICS
    lines = list(records.written(folder)) if path.is_file() else []
    kinds: dict[str, list[Record]] = {}
    for record in records.standing(lines):
        kinds.setdefault(record["kind"], []).append(record)
    seconds, lost = spent(lines)
    return Run(
        label=label,
        folder=folder,
        cfg=cfg,
        config=plain(cfg),
        records={kind: sorted(found, key=lambda r: r["step"]) for kind, found in kinds.items()},
        seconds=seconds,
        lost=lost,
        starts=_json(folder / records.ENVIRONMENT, list) or [],
        parameters=_json(folder / "parameters.json", dict) or {},
        crash=_json(folder / "crash.json", dict),
        written=datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.is_file() else None,
    )


def spent(lines: list[Record]) -> tuple[dict[str, float], int]:
    """Seconds by phase over all starts, and steps that were lost.

    The time of lost steps is estimated: their number times the median time of a step.
    """
    total: Counter[str] = Counter()
    lost = 0
    speeds = [r["seconds_per_step"] for r in lines if _number(r.get("seconds_per_step"))]
    for kept, again in attempts(lines):
        last = next((r for r in reversed(kept) if r["kind"] == "goodput"), {})
        total.update({k: v for k, v in last.get("seconds", {}).items() if _number(v)})
        lost += again
    if lost and speeds:
        total["lost"] = lost * median(speeds)
    return dict(total), lost


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Dotted path -> value of nested dicts and lists."""
    if isinstance(value, dict):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list) and any(isinstance(v, dict | list) for v in value):
        items = enumerate(value)
    else:
        return {path: value}
    joined = ((f"{path}.{key}" if path else str(key), item) for key, item in items)
    return {p: v for name, item in joined for p, v in flat(item, name).items()}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json(path: Path, kind: type) -> Any:
    """The file's content if it is there and what it should be; a report does without."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, kind) else None
