"""sweep.json: which points a sweep folder is about, and what code resolved them."""

from __future__ import annotations

import hashlib
import json
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlin.config import strictjson
from jaxlin.config.errors import CheckpointError, ConfigError
from jaxlin.config.points import Point, Resolved, resolve
from jaxlin.study.sweep.queue import QUEUE, Queue
from jaxlin.train.sources import git, versions

FORMAT = 1
USUAL = "points"  # the name of a sweep file
SWEEP, LOGS, CACHE = "sweep.json", "logs", "cache"
LARGEST = 100_000_000  # bytes of sweep.json: 1 kB a point
FIELDS = ("id", "name", "preset", "overrides", "labels", "hash")


class Sweep(NamedTuple):
    """A sweep folder and its points."""

    folder: Path
    points: list[Resolved]
    about: dict[str, Any]  # sweep.json without its points

    def by_id(self) -> dict[str, Resolved]:
        """The points by the names of their run directories."""
        return {point.id: point for point in self.points}


def default_folder(file: Path) -> Path:
    """sweeps/<name of the file's folder>, with the file's name where that is not points.py."""
    place = file.resolve().parent.name or "sweep"
    return Path("sweeps") / (place if file.stem == USUAL else f"{place}_{file.stem}")


def begin(folder: Path, file: Path, points: list[Resolved]) -> tuple[Sweep, list[str]]:
    """The sweep of a file in a folder that is new, or was made for these points; and what is to be
    said about the latter. Nothing is written yet.

    Raises ConfigError for a folder of something else, or one whose done points are none of these.
    """
    about = {
        "format": FORMAT,
        "file": str(file),
        "file_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "command": ["jaxlin", *sys.argv[1:]],
        "versions": versions(),
        "git": git(),
    }
    sweep = Sweep(folder, points, about)
    _refuse_below_a_file(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return sweep, []
    if not (folder / SWEEP).is_file():
        if folder.is_dir() and all(_of_a_start(path.name) for path in folder.iterdir()):
            return sweep, []  # it was killed at its very beginning
        raise ConfigError(
            f"--out: {folder} exists and is no sweep folder; nothing was written. Name a new one"
        )
    raw = _raw(folder)
    _refuse_lost_points(folder, raw, points)
    return sweep, _notes(raw, about)


def write(sweep: Sweep) -> None:
    """Writes sweep.json. Raises CheckpointError when that fails."""
    listed = [
        {
            "id": one.id,
            "name": one.point.name,
            "preset": one.point.preset,
            "overrides": list(one.point.overrides),
            "labels": dict(one.point.labels),
            "hash": one.hash,
        }
        for one in sweep.points
    ]
    try:
        (sweep.folder / LOGS).mkdir(parents=True, exist_ok=True)
        text = json.dumps({**sweep.about, "points": listed}, indent=2) + "\n"
        # Many jobs of one sweep may write it at the same time.
        part = sweep.folder / f".{SWEEP}.{uuid.uuid4().hex}.tmp"
        part.write_text(text, encoding="utf-8")
        part.replace(sweep.folder / SWEEP)
    except OSError as error:
        raise CheckpointError(f"{sweep.folder}: cannot be written ({error.strerror})") from error


def _refuse_below_a_file(folder: Path) -> None:
    """Raises ConfigError for a folder that can never be made, before all points are tried."""
    above = next((place for place in folder.parents if place.exists()), None)
    if above is not None and not above.is_dir():
        raise ConfigError(
            f"--out: {folder} cannot be made: {above} is a file; name a folder elsewhere"
        )


def _of_a_start(name: str) -> bool:
    return name == LOGS or (name.startswith(f".{SWEEP}.") and name.endswith(".tmp"))


def read(folder: Path) -> Sweep:
    """A sweep from its folder alone. Raises CheckpointError for one that is none, and ConfigError
    where this code makes another config of a point."""
    raw = _raw(folder)
    points = [
        Point(p["name"], p["preset"], tuple(p["overrides"]), p["labels"]) for p in raw["points"]
    ]
    found = resolve(points)
    changed = [one.point.name for one, p in zip(found, raw["points"], strict=True)
               if one.id != p["id"]]  # fmt: skip
    if changed:
        raise ConfigError(
            f"{folder}: this code makes other configs of {len(changed)} points than the code that "
            f"wrote it, such as {changed[0]}; {_code(raw)}. Use that code, or make a new sweep"
        )
    return Sweep(folder, found, {name: value for name, value in raw.items() if name != "points"})


def _raw(folder: Path) -> dict[str, Any]:
    path = folder / SWEEP
    if not path.is_file():
        raise CheckpointError(
            f"{folder} is no sweep folder: it has no {SWEEP}; give the folder that `jaxlin sweep "
            "FILE` printed, such as sweeps/NAME"
        )
    raw = strictjson.parse(path.read_bytes(), str(path), CheckpointError, LARGEST)
    if not isinstance(raw, dict) or not isinstance(raw.get("format"), int):
        raise CheckpointError(f"{path}: not written by jaxlin")
    if raw["format"] > FORMAT:
        raise CheckpointError(
            f"{path}: format {raw['format']} was written by a newer jaxlin; this one reads up to "
            f"{FORMAT}: upgrade jaxlin"
        )
    points = raw.get("points")
    if not isinstance(points, list) or not all(_is_point(p) for p in points):
        raise CheckpointError(f"{path}: its points are not written by jaxlin")
    return raw


def _is_point(raw: Any) -> bool:
    kinds = {"overrides": list, "labels": dict}
    return isinstance(raw, dict) and all(
        isinstance(raw.get(name), kinds.get(name, str)) for name in FIELDS
    )


def _refuse_lost_points(folder: Path, raw: Mapping[str, Any], points: Sequence[Resolved]) -> None:
    """Raises ConfigError if a point that is done is none of the points any more."""
    queue = Queue(folder)
    ours = {one.id for one in points}
    names = {one.point.name: one for one in points}
    events = queue.last() if (folder / QUEUE).exists() else {}
    done = [p for p in raw["points"] if p["id"] in events and events[p["id"]].state == "done"]
    lost = [p for p in done if p["id"] not in ours]
    if not lost:
        return
    some = [f"  {p['name']}: {_why(p, names)}" for p in lost[:5]]
    raise ConfigError(
        f"--out: {folder} holds the results of other points; nothing was written. {len(lost)} of "
        f"the {len(done)} points that are done there are not what {raw['file']} gives now "
        f"({_code(raw)}). Name a new folder with --out, or use what made it:\n" + "\n".join(some)
    )


def _why(old: Mapping[str, Any], names: Mapping[str, Resolved]) -> str:
    one = names.get(old["name"])
    if one is None:
        return "there is no such point now"
    before, now = list(old["overrides"]), list(one.point.overrides)
    if (old["preset"], before) != (one.point.preset, now):
        return f"{old['preset']} {' '.join(before)} -> {one.point.preset} {' '.join(now)}"
    return f"preset {old['preset']} or its defaults changed"


def _code(raw: Mapping[str, Any]) -> str:
    commit = (raw.get("git") or {}).get("commit")
    return f"made with jaxlin {(raw.get('versions') or {}).get('jaxlin')}" + (
        f", commit {commit[:12]}" if isinstance(commit, str) else ""
    )


def _notes(raw: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    """What differs between the code that began a sweep and this one, in a line."""
    old, new = dict(_flat(raw)), dict(_flat(about))
    changes = [
        f"{k} {old.get(k)} -> {new.get(k)}" for k in {**old, **new} if old.get(k) != new.get(k)
    ]
    if not changes:
        return []
    return [
        f"note: the folder was begun by other code ({', '.join(changes)}); the points that are "
        "done are unchanged and stay, each line of results names the code that it came from"
    ]


def _flat(about: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    yield from (about.get("versions") or {}).items()
    yield "commit", ((about.get("git") or {}).get("commit") or "none")[:12]
