"""Several steps of several runs as one compiled program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt32

from jaxlin.config.run import RunConfig
from jaxlin.data.batch import Batch
from jaxlin.parallel.mesh import tracing_on
from jaxlin.parallel.options import compiler_options
from jaxlin.train.plan import Plan, fresh_params, fresh_state
from jaxlin.train.state import TrainState
from jaxlin.train.step import train_step

MOST = 32  # steps of one call: it is told to stop between calls only
Measured = dict[str, Array]
Steps = Callable[[UInt32[Array, " n"], TrainState, Batch], tuple[TrainState, Measured]]


def make_steps(plan: Plan, mesh: jax.sharding.Mesh, width: int) -> Steps:
    """(seeds [n], states [n, ...], batches [k, n, b, t]) -> (states, metrics [k, n]) after k steps;
    the given states are used up.

    Each step is jaxlin.train.step.train_step. `width` runs are computed at a time (vmap); these
    come one after the other.
    """
    shardings = plan.shardings(mesh)

    def one(args: tuple[Any, TrainState, Any]) -> tuple[TrainState, Measured]:
        seed, state, batch = args
        return train_step(plan, shardings, state, batch, seed)

    def run(seeds: Any, states: TrainState, batches: Any) -> tuple[TrainState, Measured]:
        def step(states: TrainState, batch: Any) -> tuple[TrainState, Measured]:
            return jax.lax.map(one, (seeds, states, batch), batch_size=width if width > 1 else None)

        with tracing_on(mesh):
            return jax.lax.scan(step, states, batches)

    options = compiler_options(mesh.devices.flat[0].device_kind) or None
    return jax.jit(run, donate_argnums=1, compiler_options=options)


def width_on(platform: str, runs: int) -> int:
    """How many runs are best computed at a time.

    One on a CPU: n single products are faster there than a batched one (benchmarks/sweep.py). All
    on devices that one small run leaves idle; that was not measured.
    """
    return 1 if platform == "cpu" else runs


def first_states(plan: Plan, seeds: UInt32[Array, " n"]) -> TrainState:
    """The states before the first step, stacked."""

    def one(seed: Any) -> TrainState:
        return fresh_state(plan.cfg, plan.optimizer, fresh_params(plan, seed))

    return jax.jit(lambda seeds: jax.lax.map(one, seeds))(seeds)


def stack(trees: list[Any]) -> Any:
    """Trees of arrays as one, with a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def steps_a_call(cfg: RunConfig) -> int:
    """The most steps, up to MOST, after which every evaluation, save and end falls between two
    calls."""
    every = [n for n in (cfg.steps, cfg.checkpoint.every, cfg.eval.every) if 0 < n <= cfg.steps]
    return max(k for k in range(1, MOST + 1) if all(n % k == 0 for n in every))
