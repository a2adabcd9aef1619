"""What became of a run, from what it left on disk. Imports no jax and needs no device."""

from __future__ import annotations

import json
import os
import platform
import shlex
import time
from pathlib import Path
from typing import Any, NamedTuple

from jaxlin.config.run import RunConfig
from jaxlin.train import records

LOCK = "run.lock"
FRESH = 120.0  # seconds without a heartbeat after which a lock says nothing any more

# Exit code of the last end -> status, and what is to be done before the run goes on.
ENDS = {
    75: ("stopped", ""),
    130: ("interrupted", ""),
    2: ("config error", "correct what it names, then "),
    3: ("data error", "correct the data, then "),
    4: ("save error", "make room or mend the folder, then "),
    5: ("diverged", "go on without the bad batches: "),
}
OTHER = ("failed", "look at the traceback in crash.json, then ")


class Diagnosis(NamedTuple):
    """`step`: the last one recorded. `lost`: steps after the checkpoint, to be done again."""

    run: str
    status: str
    step: int
    steps: int
    checkpoint: int | None
    lost: int
    losses: dict[int, float | None]
    skipped: int
    rewinds: int
    what: str
    advice: str
    command: str | None


def diagnose(run: Path) -> Diagnosis:
    """Reads a run directory, dead or alive. Raises CheckpointError for a folder that is none."""
    cfg = records.read_config(run)
    found = records.read_metrics(run) if (run / records.METRICS).exists() else []
    trained = {r["step"]: r for r in found if r["kind"] == "train"}
    kept = records.checkpoint_steps(run)
    newest = kept[-1] if kept else None
    step = max([*trained, newest or 0])
    status, what, advice, command = _fate(run, cfg, found, newest)
    last = trained[max(trained)] if trained else {}
    return Diagnosis(
        run=str(run),
        status=status,
        step=step,
        steps=cfg.steps,
        checkpoint=newest,
        lost=step - (newest or 0),
        losses={n: trained[n]["loss"] for n in sorted(trained)[-5:]},
        skipped=int(last.get("skipped", 0)),
        rewinds=int(last.get("rewinds", 0)),
        what=what,
        advice=advice,
        command=command,
    )


def _fate(
    run: Path, cfg: RunConfig, found: list[dict[str, Any]], newest: int | None
) -> tuple[str, str, str, str | None]:
    """(status, what happened, what to do, the command for it)."""
    resume = f"jaxlin resume {shlex.quote(str(run))}"
    holder = _holder(run)
    if holder is not None:
        return "running", holder, "let it run; SIGTERM makes it save and stop", None
    evaluated = any(r["kind"] == "eval" and r["step"] == cfg.steps for r in found)
    if newest is not None and newest >= cfg.steps and evaluated:
        return "finished", "all steps are done", "train on: ", f"{resume} steps={2 * cfg.steps}"
    starts, end = len(records.starts(run)), _last_end(run)
    if not starts:
        return "not started", "it ended before its first step", "", resume
    if end is None or end["start"] != starts:
        return "killed", f"the last start left no word: {_silence(run)}", "", resume
    status, advice = ENDS.get(end["exit_code"], OTHER)
    status = "hung" if end["type"] == "Hang" else status
    if status == "diverged":
        resume += " guard.nonfinite=rewind"
    return status, f"{end['type']} after step {end['step']}: {end['message']}", advice, resume


def _last_end(run: Path) -> dict[str, Any] | None:
    ends = _read(run / records.CRASH)
    return ends[-1] if isinstance(ends, list) and ends else None


def _holder(run: Path) -> str | None:
    """Who writes to the run now; None: nobody. A lock that is old or whose process is gone is no
    sign of life."""
    lock = _read(run / LOCK)
    if not isinstance(lock, dict) or not isinstance(lock.get("pid"), int):
        return None
    age, host, pid = time.time() - _heartbeat(run / LOCK, lock), lock.get("host"), lock["pid"]
    if age > FRESH or (host == platform.node() and not _alive(pid)):
        return None
    return f"process {pid} on {host} gave a sign of life {max(0, age):.0f} s ago"


def _heartbeat(path: Path, lock: dict[str, Any]) -> float:
    beat = lock.get("heartbeat")
    return float(beat) if isinstance(beat, int | float) else path.stat().st_mtime


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _silence(run: Path) -> str:
    """When the records were last written to: without a lock the run may still be alive."""
    path = run / records.METRICS
    if not path.exists():
        return "nothing was recorded"
    age = time.time() - path.stat().st_mtime
    return f"killed (kill -9, out of memory, power), or alive: its records are {age:.0f} s old"


def _read(path: Path) -> Any:
    """The JSON in a file; None where there is none or it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
