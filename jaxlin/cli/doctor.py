"""`jaxlin doctor`: what became of a run, and the command that goes on with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxlin.train.diagnosis import Diagnosis

HELP = "say what became of a run, dead or alive, and which command goes on with it"
EXAMPLE = "jaxlin doctor runs/quickstart-1a2b3c4d"


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the diagnosis. Reads only, and loads no jax."""
    from jaxlin.train.diagnosis import diagnose

    found = diagnose(args.run.expanduser())
    if args.json:
        import json

        print(json.dumps(found._asdict(), indent=2))
    else:
        print(render(found))
    return 0


def render(found: Diagnosis) -> str:
    """The diagnosis as text."""
    kept = "none is complete" if found.checkpoint is None else f"step {found.checkpoint}"
    lost = f"; {found.lost} steps after it are lost" if found.lost else ""
    losses = ", ".join(f"{n}: {_loss(loss)}" for n, loss in found.losses.items())
    lines = [
        f"{found.run}: {found.status}",
        f"reached     step {found.step} of {found.steps}",
        f"checkpoint  {kept}{lost if found.status != 'running' else ''}",
        f"losses      {losses or 'none recorded'}",
        f"happened    {found.what}",
    ]
    if found.skipped or found.rewinds:
        lines.append(f"guard       {found.skipped} steps left out, {found.rewinds} rewinds")
    lines.append(f"next        {found.advice}{found.command or ''}")
    return "\n".join(lines)


def _loss(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.4f}"
