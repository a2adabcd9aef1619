"""The run directory: what a run was, and its metrics as they come."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxlin.config.errors import CheckpointError
from jaxlin.config.load import from_json, to_json
from jaxlin.config.run import RunConfig
from jaxlin.parallel import table
from jaxlin.train.writers import Writer, scalars

CONFIG, ENVIRONMENT, METRICS, DATA = (
    "config.json",
    "environment.json",
    "metrics.jsonl",
    "data.json",
)
CHECKPOINTS = "checkpoints"


class Records:
    """Writes to a run directory. Only one process of a run may hold one.

    metrics.jsonl: one line a record, {"kind": "start" | "train" | "eval" | ..., "step": n, ...}, on
    disk when `write` returns. The writers get the same numbers and texts.
    """

    def __init__(self, run: Path, writers: Iterable[Writer] = ()):
        self.run = run
        path = run / METRICS
        whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
        self._file = path.open("a", encoding="utf-8")
        if not whole:  # the last run was killed within a line
            self._file.write("\n")
        self._writers = list(writers)

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Appends one record; non-finite numbers become null."""
        record = {"kind": kind, "step": step, **{k: _finite(v) for k, v in values.items()}}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        numbers = dict(scalars(values, kind))
        texts = {name: value for name, value in values.items() if isinstance(value, str)}
        for writer in self._writers:
            if numbers:
                writer.scalars(step, numbers)
            for name, text in texts.items():
                writer.text(step, f"{kind}/{name}", text)

    def close(self) -> None:
        """Ends the files."""
        self._file.close()
        for writer in self._writers:
            writer.close()


def create(run: Path, cfg: RunConfig) -> None:
    """Makes the directory and writes its config. Raises CheckpointError when that fails."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        write_text(run / CONFIG, to_json(cfg))
    except OSError as error:
        raise CheckpointError(f"{run}: the run directory cannot be written: {error}") from error


def read_config(run: Path) -> RunConfig:
    """The config of a run directory. Raises CheckpointError if it is none."""
    path = run / CONFIG
    if not path.is_file():
        raise CheckpointError(
            f"{run} is no run directory: it has no {CONFIG}; give the folder that `jaxlin train` "
            "printed, such as runs/NAME"
        )
    return from_json(path.read_bytes(), str(path))


def write_parameters(run: Path, rows: Iterable[table.Row]) -> None:
    """parameters.txt to read and parameters.json to compute with."""
    rows = list(rows)
    sums = table.totals(rows)
    lines = [table.render(rows), "", *(f"{name}: {value:,}" for name, value in sums.items())]
    write_text(run / "parameters.txt", "\n".join(lines) + "\n")
    write_json(run / "parameters.json", {"totals": sums, "rows": table.as_json(rows)})


def add_start(run: Path, start: Mapping[str, Any]) -> None:
    """environment.json lists one entry a start of the run."""
    path = run / ENVIRONMENT
    earlier = json.loads(path.read_text()) if path.exists() else []
    write_json(path, [*earlier, start])


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The records of a run in order, each (kind, step) once.

    A run that was killed and resumed wrote some steps twice: a start at step n takes back what was
    recorded after n, and a line cut off by the kill is dropped.
    """
    return standing(written(run))


def standing(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is left of all written records when each start has taken back what came after it."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for record in lines:
        if record["kind"] == "start":
            found = {key: r for key, r in found.items() if r["step"] <= record["step"]}
        else:
            found[record["kind"], record["step"]] = record
    return list(found.values())


def written(run: Path) -> Iterator[dict[str, Any]]:
    """All whole records in the order of writing, the starts and what they take back among them."""
    with (run / METRICS).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue  # cut off by a kill
            if isinstance(record, dict) and isinstance(record.get("kind"), str):
                if isinstance(record.get("step"), int):
                    yield record


def has(run: Path, kind: str, step: int) -> bool:
    """Whether the run recorded this."""
    return any((r["kind"], r["step"]) == (kind, step) for r in read_metrics(run))


def write_json(path: Path, value: Any) -> None:
    """Writes JSON, all of it or nothing."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file, all of it or nothing."""
    partial = path.with_name(f".{path.name}.tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return None if isinstance(value, float) and not abs(value) < float("inf") else value
