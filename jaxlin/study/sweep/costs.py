"""What the model of a point costs, written into its run directory when it is trained: counting
takes a moment and needs jax, which the sweep itself does without."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxlin.config.run import RunConfig
from jaxlin.train import records

ACCOUNTING = "accounting.json"


def write(cfg: RunConfig, runs: Iterable[Path]) -> None:
    """accounting.json of runs that differ in their seed alone (see jaxlin.analysis.accounting)."""
    from jaxlin.analysis.accounting import accounting

    missing = [run for run in runs if not (run / ACCOUNTING).is_file()]
    if not missing:
        return
    model = dataclasses.replace(cfg.model, vocab=_vocab(missing[0]))
    found = accounting(dataclasses.replace(cfg, model=model), cfg.context)
    for run in missing:
        records.write_json(run / ACCOUNTING, found)


def read(run: Path) -> dict[str, Any] | None:
    """What was written; None where nothing was."""
    path = run / ACCOUNTING
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _vocab(run: Path) -> int:
    """Rows of the embedding as it was trained."""
    rows = json.loads((run / "parameters.json").read_text(encoding="utf-8"))["rows"]
    return next(row["shape"][0] for row in rows if row["path"].startswith("embed/"))
