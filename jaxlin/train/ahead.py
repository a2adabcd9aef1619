"""The train step scheduled for a slice that is not here: the same function that training runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from jaxlin.config.load import to_json
from jaxlin.config.run import RunConfig
from jaxlin.parallel.mesh import check
from jaxlin.parallel.products import Products
from jaxlin.parallel.topology import Slice, mesh_on
from jaxlin.train.plan import Plan, make_plan
from jaxlin.train.scheduling import DUMP, JOB, RESULT, TRACED, put
from kernels_pallas.static import CompileError
from kernels_pallas.static.compiling import ENVIRONMENT

SCHEDULE = "*after_optimizations_after_buffer_assignment.txt"
REPORT = "*after_optimizations-memory-usage-report.txt"
POLL = 0.2  # seconds


@dataclass(frozen=True)
class Ahead:
    """A step as the compiler schedules it, if its memory suffices."""

    plan: Plan
    mesh: jax.sharding.Mesh
    products: Products
    schedule: str | None  # text of optimized HLO
    memory: int  # bytes of HBM that it needs
    code: int | None  # bytes of the program; None: no code was generated
    lowering_s: float
    compiling_s: float


def compile_step(
    cfg: RunConfig,
    where: Slice,
    say: Callable[[str], None] = lambda line: None,
    *,
    code: bool = False,
) -> Ahead:
    """Traces, lowers and schedules the step of a config (with model.vocab set); makes no array.

    code: also generate the code, which takes far longer and adds nothing but its size and the
    refusals of the code generator.

    Raises:
        ConfigError: a mesh, batch or context does not fit the slice; no libtpu.
        CompileError: the compiler refused for another reason than memory.
    """
    mesh = mesh_on(cfg.mesh, where)
    check(cfg, mesh.shape)
    plan = make_plan(cfg, mesh.shape)
    with tempfile.TemporaryDirectory(prefix="jaxlin-compile-") as name:
        folder = Path(name)
        put(folder / JOB, {"config": to_json(cfg), "topology": where.name, "code": code})
        say(f"lowering for {where.name}: {where.devices} devices ...")
        start = time.perf_counter()
        with _process(folder) as child:
            try:
                _wait(lambda: (folder / TRACED).exists(), child, folder)
                middle = time.perf_counter()
                say(f"compiling ...{' (takes minutes)' if code else ' (takes about a minute)'}")
                ready = None if code else _schedule
                _wait(lambda: ready is not None and ready(folder) is not None, child, folder)
            finally:
                child.kill()
        end = time.perf_counter()
        return _ahead(folder, plan, mesh, middle - start, end - middle)


def _process(folder: Path) -> subprocess.Popen[bytes]:
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | ENVIRONMENT
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "jaxlin.train.scheduling", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )


def _wait(ready: Callable[[], bool], child: subprocess.Popen[bytes], folder: Path) -> None:
    """Until `ready`, or the child's result is there. Raises CompileError where it died."""
    while not ready() and not (folder / RESULT).exists():
        if child.poll() is not None and not (folder / RESULT).exists():
            log = (folder / "log").read_text(errors="replace")[-2000:]
            raise CompileError(f"the compiler died, exit code {child.returncode}: {log}")
        time.sleep(POLL)


def _schedule(folder: Path) -> str | None:
    """The schedule, once it is written to its end."""
    for path in (folder / DUMP).glob(SCHEDULE):
        text = path.read_text(errors="replace")
        if "ENTRY" in text and text.rstrip().endswith("}"):
            return text
    return None


def _ahead(
    folder: Path, plan: Plan, mesh: jax.sharding.Mesh, lowering: float, compiling: float
) -> Ahead:
    result = _read(folder / RESULT)
    if "error" in result and result["needed"] is None:
        raise CompileError(" ".join(result["error"].split()))
    counted = Products(**_read(folder / TRACED))
    if "error" in result:
        text, memory = None, result["needed"]
    else:
        text, memory = _schedule(folder), _memory(folder)
    code = result.get("code")
    return Ahead(plan, mesh, counted, text, memory, code, lowering, compiling)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _memory(folder: Path) -> int:
    """Bytes of HBM: arguments, outputs that reuse none of them, and temporaries."""
    for path in (folder / DUMP).glob(REPORT):
        return hbm_bytes(path.read_text(errors="replace"))
    raise CompileError("the compiler wrote no report of its memory")


def hbm_bytes(report: str) -> int:
    """The total of the compiler's memory report for the space that is HBM."""
    found = re.search(r"Memory Space: default .*\nTotal bytes: (\d+)", report)
    if found is None:
        raise CompileError("the compiler's report of its memory has no total for HBM")
    return int(found[1])
