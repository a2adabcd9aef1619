"""A sweep folder as its page reads it: sweep.json and results.jsonl, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxlin.config import strictjson
from jaxlin.config.errors import CheckpointError, ConfigError
from jaxlin.config.plain import show

SWEEP, RESULTS = "sweep.json", "results.jsonl"
FORMAT = 1
LARGEST = 100_000_000  # bytes of a file; a point with its curves has about 10 kB
Line = dict[str, Any]
Type = type | tuple[type, ...]
POINT: dict[str, Type] = {"id": str, "name": str, "preset": str, "overrides": list,
                          "labels": dict, "hash": str}  # fmt: skip
NONE = type(None)
LINE: dict[str, Type] = {
    "id": str, "hash": str, "status": str, "reason": (str, NONE), "seconds": (int, float, NONE),
    "parameters": (int, NONE), "tokens": (int, NONE), "versions": (dict, NONE),
    "git": (dict, NONE), "layers": (list, NONE), "accounting": (dict, NONE), "final": dict,
    "curves": dict, "grids": dict,
}  # fmt: skip
HUGE = 1e300  # so that sums stay finite; not-a-number is below nothing
STATUSES = ("done", "failed")
AGAIN = "make it again with `jaxlin sweep {} --collect`"


@dataclass(frozen=True)
class Study:
    """A sweep. `points`: as planned, with their labels; `lines`: id -> what a point recorded."""

    folder: Path
    about: dict[str, Any]
    points: list[dict[str, Any]]
    lines: dict[str, Line]

    def of(self, status: str | None) -> list[dict[str, Any]]:
        """The points that are done, have failed, or (None) have no result."""
        return [p for p in self.points if self.lines.get(p["id"], {}).get("status") == status]


def read(folder: Path) -> Study:
    """The study in a folder.

    Raises CheckpointError for a folder that is no sweep, for results that are none or belong to
    other points, and ConfigError for points without the labels of a study.
    """
    about = _about(folder)
    points = about.pop("points")
    study = Study(folder, about, points, dict(_lines(folder)))
    _refuse_foreign(study)
    _refuse_unlabelled(study)
    return study


def number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < HUGE


def _about(folder: Path) -> dict[str, Any]:
    path = folder / SWEEP
    if not path.is_file():
        raise CheckpointError(
            f"{folder} is no sweep folder: it has no {SWEEP}; give the folder that `jaxlin sweep "
            "FILE` wrote, or one that holds its sweep.json and results.jsonl"
        )
    about = strictjson.parse(_bytes(path), str(path), CheckpointError, LARGEST)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = show(about.get("format")) if isinstance(about, dict) else "no object"
        raise CheckpointError(
            f"{path}: format: found {found}; this jaxlin reads sweeps of format {FORMAT}; use the "
            "jaxlin that wrote it, or sweep again"
        )
    points = about.get("points")
    if not isinstance(points, list) or not points:
        raise CheckpointError(f"{path}: points: found none; a sweep has at least one")
    for i, point in enumerate(points):
        where = f"{path}: points.{i}"
        _check(point, POINT, where, "it was not written by `jaxlin sweep`")
        for name, value in point["labels"].items():
            if not isinstance(value, str | int | float):
                raise CheckpointError(
                    f"{where}.labels.{name}: found {show(value)}; allowed: text or a number"
                )
    return about


def _lines(folder: Path) -> Iterator[tuple[str, Line]]:
    path, again = folder / RESULTS, AGAIN.format(folder)
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no {RESULTS}: no point is finished, or it was not kept; {again}"
        )
    seen: dict[str, int] = {}
    for count, text in enumerate(_bytes(path).splitlines(), 1):
        where = f"{path}, line {count}"
        try:
            line = strictjson.parse(text, where, CheckpointError, LARGEST)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; {again}") from None
        _check(line, LINE, where, again)
        _check_series(line, where, again)
        if line["status"] not in STATUSES:
            raise CheckpointError(
                f"{where}: status: found {show(line['status'])}; allowed: "
                f"{', '.join(map(repr, STATUSES))}; {again}"
            )
        if line["id"] in seen:
            raise CheckpointError(
                f"{where}: point {line['id']} has a result in line {seen[line['id']]} already; "
                f"{again}"
            )
        seen[line["id"]] = count
        yield line["id"], line


def _check(value: Any, fields: dict[str, Type], where: str, advice: str) -> None:
    """Raises CheckpointError unless it is an object with fields of these types."""
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: found {show(value)}; allowed: an object; {advice}")
    for name, kind in fields.items():
        if name not in value:
            raise CheckpointError(f"{where}: has no {name!r}: results of another format; {advice}")
        if not isinstance(value[name], kind) or isinstance(value[name], bool):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            allowed = " or ".join("none" if k is NONE else k.__name__ for k in kinds)
            raise CheckpointError(
                f"{where}: {name}: found {show(value[name])}; allowed: {allowed}; {advice}"
            )


def _check_series(line: Line, where: str, advice: str) -> None:
    """Raises CheckpointError for curves that are no points and heat maps that are no grids."""
    for name, curve in line["curves"].items():
        if not isinstance(curve, list) or not all(_is_point(point) for point in curve):
            allowed = "a list of [step, value]"
            raise CheckpointError(f"{where}: curves.{name}: allowed: {allowed}; {advice}")
    for name, grid in line["grids"].items():
        if not _is_grid(grid):
            allowed = "rows, columns, and values, a list of numbers a row"
            raise CheckpointError(f"{where}: grids.{name}: allowed: {allowed}; {advice}")


def _is_point(point: Any) -> bool:
    if not isinstance(point, list) or len(point) != 2:
        return False
    return number(point[0]) and (point[1] is None or isinstance(point[1], int | float))


def _is_grid(grid: Any) -> bool:
    if not isinstance(grid, dict):
        return False
    rows, columns, values = (grid.get(name) for name in ("rows", "columns", "values"))
    if not (isinstance(rows, list) and isinstance(columns, list) and isinstance(values, list)):
        return False
    return len(values) == len(rows) and all(
        isinstance(row, list) and len(row) == len(columns) for row in values
    )


def _refuse_foreign(study: Study) -> None:
    """Raises CheckpointError for results of points that the sweep does not have."""
    hashes = {point["id"]: point["hash"] for point in study.points}
    foreign = [line for line in study.lines.values() if hashes.get(line["id"]) != line["hash"]]
    if not foreign:
        return
    first = foreign[0]
    planned = hashes.get(first["id"])
    difference = (
        "is no point of sweep.json"
        if planned is None
        else f"has hash {first['hash'][:12]}, in sweep.json {planned[:12]}"
    )
    raise CheckpointError(
        f"{study.folder}: {RESULTS} and {SWEEP} come from other code or another sweep: "
        f"{len(foreign)} of {len(study.lines)} results do not match, such as {first['id']}, which "
        f"{difference}. Put files of one sweep together, or {AGAIN.format(study.folder)}"
    )


def _refuse_unlabelled(study: Study) -> None:
    """Raises ConfigError if no point says its mixer and ratio."""
    if any({"mixer", "ratio"} <= point["labels"].keys() for point in study.points):
        return
    found = sorted({name for point in study.points for name in point["labels"]})
    raise ConfigError(
        f"{study.folder}: no point has the labels 'mixer' and 'ratio', which make the rows and "
        f"columns of the page; found {', '.join(found) or 'no labels'}. Give them in the sweep "
        "file, as in Point(..., labels={'mixer': 'gla', 'ratio': '3:1', 'seed': 0})"
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
