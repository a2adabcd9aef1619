"""The run directory: what a run was, and its metrics as they come."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxlin.config.errors import CheckpointError
from jaxlin.config.load import from_json, to_json
from jaxlin.config.run import RunConfig
from jaxlin.parallel import table
from jaxlin.train.faults import fault
from jaxlin.train.writers import Writer, scalars

CONFIG, ENVIRONMENT, METRICS, DATA = (
    "config.json",
    "environment.json",
    "metrics.jsonl",
    "data.json",
)
CHECKPOINTS, CRASH = "checkpoints", "crash.json"


class Records:
    """Writes to a run directory. Only one process of a run may hold one.

    metrics.jsonl: one line a record, {"kind": "train", "step": n, ...}, on disk when `write`
    returns; kinds: start, train, eval, guard, stats, sample, task, goodput. The writers get the
    same numbers and texts.
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
        line = json.dumps(record) + "\n"
        half = len(line) // 2
        try:
            self._file.write(line[:half])
            fault("metrics", self._file.flush)
            self._file.write(line[half:])
            self._file.flush()
        except OSError as error:
            raise CheckpointError(f"{self.run / METRICS}: cannot be written: {error}") from error
        values = dict(values)
        kind = f"{kind}/{values.pop('task')}" if "task" in values else kind  # a curve for each
        numbers = dict(scalars(values, kind))
        texts = {name: value for name, value in values.items() if isinstance(value, str)}
        for writer in self._writers:
            if numbers:
                writer.scalars(step, numbers)
            for name, text in texts.items():
                writer.text(step, f"{kind}/{name}", text)

    def close(self) -> None:
        """Ends the files."""
        with contextlib.suppress(OSError):  # all was flushed but what `write` has failed to write
            self._file.close()
        for writer in self._writers:
            writer.close()


class Silence(Records):
    """What the processes of a run hold that do not write: the first one has the same numbers."""

    def __init__(self) -> None:
        pass

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


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
    write_json(run / ENVIRONMENT, [*starts(run), start])


def starts(run: Path) -> list[dict[str, Any]]:
    """The starts of a run so far."""
    path = run / ENVIRONMENT
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def checkpoint_steps(run: Path) -> list[int]:
    """Steps with a complete checkpoint, by the names of their folders: a step gets its name when it
    is complete. Whether its bytes are right is seen when it is restored."""
    folder = run / CHECKPOINTS
    found = folder.iterdir() if folder.is_dir() else []
    return sorted(int(path.name) for path in found if path.name.isdecimal() and path.is_dir())


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The records of a run in order, each (kind, step, task) once.

    A run that was killed and resumed wrote some steps twice: a start at step n takes back what was
    recorded after n, and a line cut off by the kill is dropped.
    """
    return standing(written(run))


def standing(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is left of all written records when each start has taken back what came after it."""
    found: dict[tuple[str, int, Any], dict[str, Any]] = {}
    for record in lines:
        if record["kind"] == "start":
            found = {key: r for key, r in found.items() if r["step"] <= record["step"]}
        else:
            found[record["kind"], record["step"], str(record.get("task"))] = record
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


def finished(run: Path, steps: int) -> bool:
    """Whether a run has saved and evaluated its last step: nothing is left to do."""
    if not (run / METRICS).is_file():
        return False
    return max(checkpoint_steps(run), default=0) == steps and has(run, "eval", steps)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON, all of it or nothing."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file, all of it or nothing."""
    partial = path.with_name(f".{path.name}.tmp")
    partial.write_text(text, encoding="utf-8")
    fault("file")
    os.replace(partial, path)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return None if isinstance(value, float) and not abs(value) < float("inf") else value
