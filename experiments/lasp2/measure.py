"""One point compiled in a process of its own, and what its program shows."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.lasp2.compiling import DUMP, JOB, LOWERED, RESULT
from experiments.lasp2.points import Point, by_formula
from jaxlin.parallel.census import Collective, census
from jaxlin.parallel.program import parse
from jaxlin.parallel.work import work
from jaxlin.train.ahead import REPORT, SCHEDULE, hbm_bytes
from kernels_pallas.static.compiling import ENVIRONMENT

CODED = "*after_codegen.txt"  # the schedule again, with cycles
POLL = 0.1  # seconds
Record = dict[str, Any]


def versions() -> dict[str, str]:
    """Of what decides the figures."""
    return {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "libtpu")}


def measure(point: Point, timeout: float) -> Record:
    """The record of a point: its figures, {"refused"} with the reason, or {"failed"} where the
    compiler died or took more than `timeout` seconds."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="lasp2-") as name:
        folder = Path(name)
        (folder / JOB).write_text(json.dumps(point._asdict()))
        failed = _compile(folder, point.cycles, timeout)
        found = {"failed": failed} if failed else _figures(folder, point)
    took = round(time.perf_counter() - start, 1)
    return {"id": point.id, "point": point._asdict(), **found, "seconds": took} | {
        "versions": versions()
    }


def _compile(folder: Path, code: bool, timeout: float) -> str | None:
    """Until all is there that the point needs; else what went wrong."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | ENVIRONMENT
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-m", "experiments.lasp2.compiling", str(folder)]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        end = time.monotonic() + timeout
        while not (folder / RESULT).exists() and (code or not _scheduled(folder)):
            if child.poll() is not None and not (folder / RESULT).exists():
                tail = (folder / "log").read_text(errors="replace")[-400:]
                return f"the compiler died, exit code {child.returncode}: {tail}"
            if time.monotonic() > end:
                return f"more than {timeout:g} s"
            time.sleep(POLL)
        return None
    finally:
        child.kill()
        child.wait()


def _scheduled(folder: Path) -> bool:
    """Whether the schedule is written to its end; the memory report was before it."""
    text = _read(folder, SCHEDULE)
    return "ENTRY" in text and text.rstrip().endswith("}")


def _read(folder: Path, pattern: str) -> str:
    for path in (folder / DUMP).glob(pattern):
        return path.read_text(errors="replace")
    return ""


def _figures(folder: Path, point: Point) -> Record:
    """What the program shows; a refusal as it is."""
    result = json.loads(path.read_text()) if (path := folder / RESULT).exists() else {}
    told = json.loads(path.read_text()) if (path := folder / LOWERED).exists() else {}
    if "refused" in result:
        return result | {"ranks": told.get("ranks"), "hbm": told.get("hbm")}
    program = parse(_read(folder, CODED if point.cycles else SCHEDULE))
    done, found = work(program), census(program, told["mesh"])
    return {
        "ranks": told["ranks"],
        "torus": told["torus"],
        "formula": by_formula(point, told["ranks"], tuple(told["torus"])),
        "census": sum(one.total for one in found),
        "collectives": [_short(one) for one in found],
        "cycles": done.cycles if point.cycles else None,
        "flops": done.flops,
        "temporaries": hbm_bytes(_read(folder, REPORT)) - told["held"],
        "kernels": sum(one.kernel for body in program.parts.values() for one in body.values()),
    }


def _short(one: Collective) -> Record:
    names = ("kind", "ranks", "count", "bytes", "in_flight", "cycles")
    return {name: getattr(one, name) for name in names}
