"""Where a start of a run goes on: at its newest step that can be restored exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import Array

from jaxlin.config.errors import CheckpointError
from jaxlin.parallel import processes
from jaxlin.parallel.paths import flatten
from jaxlin.train import records, steps
from jaxlin.train.checkpoint import Checkpoints
from jaxlin.train.damage import Damaged
from jaxlin.train.plan import Plan, fresh_params, fresh_state
from jaxlin.train.state import TrainState


class Resume(NamedTuple):
    """What a start may do with what it finds in the run directory."""

    fallback: bool = False  # take an older step when the newest is damaged
    allow_cast: bool = False  # let float32 leaves become bfloat16, and back
    takeover: bool = False  # replace a writer that has fallen silent (jaxlin.train.lock)


STRICT = Resume()


class Found(NamedTuple):
    """A restored step."""

    step: int
    state: TrainState


def newest(
    run: Path,
    plan: Plan,
    mesh: jax.sharding.Mesh,
    resume: Resume,
    accept: Callable[[int, dict[str, Any]], None],
    say: Callable[[str], None],
) -> Found | None:
    """The newest step of the run, verified; None if it has none. `accept` gets its number and meta
    and raises if it is not to be gone on from.

    Raises CheckpointError if it is damaged. With `fallback` the newest undamaged one is taken, and
    those above it are moved out of the way; nothing is moved if there is no such step.
    """
    folder = run / records.CHECKPOINTS
    found = steps.numbered(folder)
    if not found:
        return None
    checkpoints = Checkpoints(folder, plan.cfg.checkpoint, write=False, say=say)
    damaged: dict[int, Damaged] = {}
    for step in reversed(found):
        try:
            accept(step, checkpoints.meta(step))
            state = _restored(checkpoints, step, plan, mesh, resume)
        except Damaged as error:
            damaged[step] = error
            if not resume.fallback:
                raise CheckpointError(f"{error}{_way_out(found, step)}") from error
        else:
            _set_aside(checkpoints, damaged, step)
            return Found(step, state)
    reasons = "\n".join(map(str, damaged.values()))
    raise CheckpointError(
        f"{folder} has no undamaged step. Restore it from a copy, or start anew in another "
        f"directory:\n{reasons}"
    )


def fresh_leaves(plan: Plan, mesh: jax.sharding.Mesh, paths: list[str]) -> dict[str, Array]:
    """Some leaves of the state before the first step; only they are computed."""
    shardings = flatten(plan.shardings(mesh))

    def make() -> dict[str, Array]:
        state = flatten(fresh_state(plan.cfg, plan.optimizer, fresh_params(plan)))
        return {path: state[path] for path in paths}

    return jax.jit(make, out_shardings={path: shardings[path] for path in paths})()


def _restored(
    checkpoints: Checkpoints, step: int, plan: Plan, mesh: jax.sharding.Mesh, resume: Resume
) -> TrainState:
    return checkpoints.restore(
        step,
        plan.shapes,
        plan.shardings(mesh),
        cast=resume.allow_cast,
        fresh=lambda paths: fresh_leaves(plan, mesh, paths),
    )


def _way_out(found: list[int], step: int) -> str:
    older = [n for n in found if n < step]
    if not older:
        return ". There is no earlier step; restore it from a copy"
    return f". Step {older[-1]} is there too: --fallback goes on from the newest undamaged step"


def _set_aside(checkpoints: Checkpoints, damaged: dict[int, Damaged], step: int) -> None:
    for number, error in damaged.items():
        checkpoints.set_aside(number, f"{error}. Going on from step {step} (--fallback)")
    processes.meet("damaged steps set aside")  # no process may find them after this
