"""A run's model from its directory: for evaluation, generation, and as another run's start."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxlin.adapters import merge
from jaxlin.config.errors import CheckpointError
from jaxlin.config.load import from_json
from jaxlin.config.run import Mesh, RunConfig
from jaxlin.parallel.mesh import make
from jaxlin.parallel.paths import flatten
from jaxlin.train import records
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.differences import refuse_differences
from jaxlin.train.plan import Plan, make_plan
from jaxlin.train.state import TrainState

NONE_YET = "{run} has no complete checkpoint yet; `jaxlin resume {run}` trains it further"


class Trained(NamedTuple):
    """A model ready for use. `cfg` has its vocabulary filled in."""

    cfg: RunConfig
    model: Any
    variables: dict[str, Any]
    mesh: jax.sharding.Mesh
    step: int


def load_run(run: Path, mesh: jax.sharding.Mesh | None = None, step: int | None = None) -> Trained:
    """The model of a run at its latest (or a given) step: averaged weights where an EMA is kept.

    It is placed on `mesh`; None: whole on each device. Raises CheckpointError.
    """
    records.read_config(run)
    checkpoints = open_checkpoints(run)
    step = _existing(checkpoints, run, step)
    meta = checkpoints.meta(step)
    cfg = from_json(json.dumps(meta["config"]), f"{checkpoints.folder / str(step)}: config")
    mesh = make(Mesh()) if mesh is None else mesh
    plan = make_plan(cfg, mesh.shape)
    state = _restore_weights(checkpoints, step, plan, mesh)
    return Trained(cfg, plan.model, state.variables(), mesh, step)


def initial_params(run: Path, plan: Plan, mesh: jax.sharding.Mesh) -> Any:
    """The parameters of another run, for a fresh start of `plan`; its adapters are merged in.

    Raises CheckpointError with a table if they are not those that the plan's model needs.
    """
    checkpoints = open_checkpoints(run)
    step = _existing(checkpoints, run, None)
    wanted = {f"params/{path}": leaf for path, leaf in flatten(plan.shapes.params).items()}
    stored = {p: x for p, x in checkpoints.stored(step).items() if p.startswith("params/")}
    refuse_differences(f"init_from: {checkpoints.folder / str(step)}", stored, wanted)
    variables = load_run(run, mesh, step).variables
    if "adapters" not in variables:
        return variables["params"]
    shardings = plan.shardings(mesh).params
    return jax.jit(merge, out_shardings=shardings)(variables["params"], variables["adapters"])


def open_checkpoints(run: Path) -> Checkpoints:
    """The checkpoints of an existing run, to read. Raises CheckpointError if it is none."""
    cfg = records.read_config(run)
    if not (run / records.CHECKPOINTS).is_dir():
        raise CheckpointError(NONE_YET.format(run=run))
    return Checkpoints(run / records.CHECKPOINTS, cfg.checkpoint, write=False)


def _existing(checkpoints: Checkpoints, run: Path, step: int | None) -> int:
    steps = checkpoints.steps()
    if not steps:
        raise CheckpointError(NONE_YET.format(run=run))
    if step is not None and step not in steps:
        raise CheckpointError(f"{run} has no checkpoint of step {step}; it has {steps}")
    return steps[-1] if step is None else step


def _restore_weights(
    checkpoints: Checkpoints, step: int, plan: Plan, mesh: jax.sharding.Mesh
) -> TrainState:
    """The state without its optimizer. Parameters that an average stands for are not read."""
    averaged = plan.shapes.ema is not None and plan.shapes.adapters is None
    fields = [
        field.name
        for field in dataclasses.fields(plan.shapes)
        if field.name in ("adapters", "ema", *([] if averaged else ["params"]))
        and getattr(plan.shapes, field.name) is not None
    ]
    shardings = plan.shardings(mesh)
    loaded = checkpoints.restore_part(
        step,
        {name: getattr(plan.shapes, name) for name in fields},
        {name: getattr(shardings, name) for name in fields},
    )
    empty = {field.name: None for field in dataclasses.fields(plan.shapes)}
    return TrainState(**(empty | loaded))
