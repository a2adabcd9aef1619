"""`jaxlin eval --task`: a run scored by tasks, at any length."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxlin.cli import _run, _tables

if TYPE_CHECKING:
    from jaxlin.config.run import Mesh, RunConfig


def asked(words: list[str], length: int | None, examples: int | None) -> list[Any]:
    """The task configs of `--task kind(field=value)` words. Raises ConfigError."""
    from jaxlin.config.errors import ConfigError
    from jaxlin.config.override import variant
    from jaxlin.config.registry import tasks

    for name, value in (("--length", length), ("--examples", examples)):
        if value is not None and value < 1:
            raise ConfigError(f"{name}: {value} is not allowed; give at least 1")
    changes = {k: v for k, v in (("length", length), ("examples", examples)) if v is not None}
    return [replace(variant(tasks, word, "--task"), **changes) for word in words]


def measure(
    folder: Path,
    cfg: RunConfig,
    configs: list[Any],
    *,
    step: int | None = None,
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """The records of the tasks for a run."""
    from jaxlin.config.errors import DataError
    from jaxlin.evals.tasks import Setting, choose, scores

    tokenizer, trained, rows = _loaded(folder, cfg, step, mesh)
    chosen, skipped = choose(
        configs,
        context=cfg.context,
        vocab=trained.cfg.model.vocab or 0,
        tokenizer=tokenizer,
        seq=trained.mesh.shape["seq"],
    )
    if not chosen:
        raise DataError("\n".join(skipped))
    setting = Setting(trained.model, trained.variables, tokenizer, rows, trained.mesh)
    counted = _tables.counted(scores(chosen, setting), "scoring task", len(chosen))
    return {"run": str(folder), "step": trained.step, "tasks": list(counted), "skipped": skipped}


def harness(
    folder: Path,
    cfg: RunConfig,
    names: str,
    *,
    tasks_from: Path | None = None,
    length: int | None = None,
    examples: int | None = None,
    step: int | None = None,
    mesh: Mesh | None = None,
) -> dict[str, Any]:
    """The results of tasks of lm-eval for a run."""
    from jaxlin.evals import harness
    from jaxlin.evals.bridge import Bridge

    harness.check()
    wanted = harness.named(names)
    tokenizer, trained, rows = _loaded(folder, cfg, step, mesh)
    most = length or cfg.context
    bridge = Bridge(
        trained.model, trained.variables, tokenizer, rows=rows, most=most, mesh=trained.mesh
    )
    found = harness.run(bridge, wanted, folder=tasks_from, limit=examples)
    return {
        "run": str(folder),
        "step": trained.step,
        "length": most,
        "lm_eval": found,
        "lm_score": harness.lm_score(found),
    }


def _loaded(folder: Path, cfg: RunConfig, step: int | None, mesh: Mesh | None) -> Any:
    """Tokenizer and model of a run, and rows that the mesh divides."""
    from jaxlin.parallel.mesh import make
    from jaxlin.train.restore import load_run

    tokenizer = _run.tokenizer(folder, cfg)
    trained = load_run(folder, make(mesh) if mesh else None, step)
    shards = trained.mesh.shape["data"] * trained.mesh.shape["fsdp"]
    return tokenizer, trained, -(-cfg.batch // shards) * shards


def show_harness(result: dict[str, Any]) -> None:
    """A table of tasks and metrics."""
    rows = [
        [name, metric, f"{value:.4f}"]
        for name, found in result["lm_eval"].items()
        for metric, value in found.items()
    ]
    if result["lm_score"] is not None:
        rows.append(["mean of the six", "acc", f"{result['lm_score']:.4f}"])
    title = f"{result['run']}, step {result['step']}, at most {result['length']} tokens"
    _tables.show(title, ["lm-eval task", "metric", "value"], rows)


def show(result: dict[str, Any]) -> None:
    """A table of all tasks, then what each of them breaks down."""
    from jaxlin.evals.report import breakdown_rows, grid_rows, task_rows

    title = f"{result['run']}, step {result['step']}"
    header = ["task", "length", "accuracy", "all right", "examples"]
    _tables.show(title, header, task_rows(result["tasks"]))
    for reason in result["skipped"]:
        print(f"skipped: {reason}\n")
    for record in result["tasks"]:
        for label, parts in record.get("by", {}).items():
            if label not in _axes(record):
                _tables.show(
                    f"{record['task']} by {label}", [label, "accuracy"], breakdown_rows(parts)
                )
        if "grid" in record:
            row, column = _axes(record)
            head = [f"{row} \\ {column}", *map(str, record["grid"]["columns"])]
            _tables.show(f"{record['task']} by {row} and {column}", head, grid_rows(record["grid"]))


def _axes(record: dict[str, Any]) -> tuple[str, ...]:
    grid = record.get("grid", {})
    return tuple(grid[name] for name in ("row", "column") if name in grid)
