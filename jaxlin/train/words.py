"""What a run says about itself on its way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxlin.train.job import Job
from jaxlin.train.stop import Stop


def told(stop: Stop, done: int, steps: int, run: Path) -> str:
    """Why it stops after `done` steps, and how it goes on."""
    who = stop.signal.name if stop.signal else "a signal to one of the processes"
    saved = "saved" if done else "nothing to save yet at"
    return (
        f"told to stop by {who}: {saved} step {done} of {steps} in {run}; the same command, or "
        f"`jaxlin resume {run}`, goes on from there"
    )


def announcement(run: Path, job: Job, start: int) -> list[str]:
    """What is about to happen, before it takes hours."""
    cfg, mesh, rows = job.cfg, job.mesh, job.plan.rows
    count = sum(row.count for row in rows)
    trained = sum(row.count for row in rows if row.optimizer != "frozen")
    shape = ", ".join(f"{axis} {size}" for axis, size in mesh.shape.items() if size > 1)
    kind = mesh.devices.flat[0].device_kind
    tokens = cfg.batch * cfg.context
    begin = "step 0, " + (f"parameters of {cfg.init_from}" if cfg.init_from else "from the seed")
    return [
        f"run     {run}",
        f"model   {count:,} parameters" + ("" if trained == count else f", {trained:,} trained"),
        f"mesh    {mesh.devices.size} x {kind}" + (f": {shape}" if shape else ""),
        f"data    {job.corpus.description}",
        f"steps   {cfg.steps:,} of {cfg.batch} x {cfg.context} = {tokens:,} tokens",
        f"start   {f'checkpoint of step {start}' if start else begin}",
        *(f"skipped {reason}" for reason in job.skipped),
    ]


def evaluation(done: int, result: Mapping[str, Any]) -> str:
    """The held-out loss after `done` steps."""
    text = f"step {done}  held-out loss {result['loss']:.4f}"
    if result.get("bits_per_byte") is not None:
        text += f"  {result['bits_per_byte']:.4f} bits per byte"
    return text


def score(done: int, values: Mapping[str, Any]) -> str:
    """The score of a task after `done` steps."""
    return (
        f"step {done}  {values['task']}: accuracy {values['accuracy']:.4f}, "
        f"{values['exact']:.4f} of {values['examples']} examples all right"
    )
