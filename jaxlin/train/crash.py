"""How a run ended, if not by finishing: the last thing it writes."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax

from jaxlin.config.errors import JaxlinError
from jaxlin.train import records

KEPT = 20  # ends of a run


class Crash:
    """Writes an entry to crash.json when what it encloses raises after `begin`: a refusal before
    leaves the directory as it was. The entry says which start of the run it ended, so that a later
    start, which appends to environment.json, makes it history.

    `lines`: the last lines of progress. `step`: the last finished one; the loop keeps it.
    """

    def __init__(self, run: Path, lines: Iterable[str]):
        self.run, self.step, self._lines, self._begun = run, 0, lines, False

    def begin(self, step: int) -> None:
        """From here on the directory belongs to this start."""
        self.step, self._begun = step, True

    def write(self, error: BaseException) -> None:
        """Appends the entry."""
        # A directory that cannot be written any more must not hide the error.
        with contextlib.suppress(OSError, ValueError):
            path = own(self.run, records.CRASH)
            records.write_json(path, [*_read(path), self._entry(error)][-KEPT:])

    def __enter__(self) -> Crash:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None and self._begun:
            self.write(error)

    def _entry(self, error: BaseException) -> dict[str, Any]:
        return {
            "exit_code": exit_code(error),
            "type": type(error).__name__,
            "message": str(error),
            "traceback": "".join(traceback.format_exception(error)),
            "step": self.step,
            "checkpoint": max(records.checkpoint_steps(self.run), default=None),
            "start": len(records.starts(self.run)),
            "time": time.time(),
            "host": platform.node(),
            "pid": os.getpid(),
            "lines": list(self._lines),
            "memory": [_memory(device) for device in jax.local_devices()],
        }


def exit_code(error: BaseException) -> int:
    """The code that the command line ends with."""
    if isinstance(error, JaxlinError):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def own(run: Path, name: str) -> Path:
    """This process's file: `name`, or name-2 and so on for the processes after the first."""
    path, index = run / name, jax.process_index()
    return path.with_stem(f"{path.stem}-{index}") if index else path


def _read(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def _memory(device: jax.Device) -> dict[str, Any]:
    try:
        stats = device.memory_stats()
    except jax.errors.JaxRuntimeError as error:  # a device that failed answers no more
        stats = {"error": str(error)}
    return {"device": str(device), **(stats or {})}
