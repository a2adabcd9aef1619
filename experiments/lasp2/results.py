"""The study's results on disk: a line of JSON a point, so that a stopped study goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jaxlin.config.errors import ConfigError

Record = dict[str, Any]


def load(path: Path) -> dict[str, Record]:
    """id -> record; of several of one point the last. A torn last line counts as none."""
    found: dict[str, Record] = {}
    lines = path.read_text().splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                continue
            raise ConfigError(
                f"{path}, line {number}: is no JSON ({error}); remove the line, its point is "
                "compiled again then"
            ) from error
        found[record["id"]] = record
    return found


def append(path: Path, record: Record) -> None:
    """One more line, in place of a torn one."""
    text = path.read_text() if path.exists() else ""
    if text and not text.endswith("\n"):
        path.write_text(text[: text.rfind("\n") + 1])
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def done(record: Record, cycles: bool) -> bool:
    """Whether the point needs no compile: a refusal is a result, a failure is none."""
    return "refused" in record or ("census" in record and not (cycles and record["cycles"] is None))


def check_versions(found: dict[str, Record], now: dict[str, str], path: Path) -> None:
    """Raises ConfigError where figures are of other versions of the compiler."""
    for record in found.values():
        if record["versions"] != now:
            theirs, ours = (
                ", ".join(f"{name} {version}" for name, version in each.items())
                for each in (record["versions"], now)
            )
            raise ConfigError(
                f"--out: {path} holds figures of {theirs}; installed are {ours}. One table shows "
                "one compiler: name another folder, or remove the file and compile all again"
            )
