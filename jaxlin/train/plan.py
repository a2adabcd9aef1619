"""A run before any array exists: model, optimizer, and shape, place and group of every leaf."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxlin.adapters import attach
from jaxlin.config.run import RunConfig
from jaxlin.models import lm
from jaxlin.parallel import table
from jaxlin.parallel.paths import flatten, map_paths
from jaxlin.parallel.rules import Axes, logical_axes, specs
from jaxlin.train import guard
from jaxlin.train import optimizer as optimizers
from jaxlin.train import schedule as schedules
from jaxlin.train.optimizer import Optimizer
from jaxlin.train.state import ADAPTERS, INIT, TrainState, key


@dataclass(frozen=True)
class Plan:
    """`shapes` and `specs` are states whose leaves are shapes and partition specs."""

    cfg: RunConfig
    model: nn.Module
    optimizer: Optimizer
    schedule: schedules.Schedule
    shapes: TrainState
    specs: TrainState
    rows: tuple[table.Row, ...]

    def shardings(self, mesh: jax.sharding.Mesh) -> TrainState:
        """The state of NamedShardings."""
        return jax.tree.map(lambda spec: NamedSharding(mesh, spec), self.specs)


def make_plan(cfg: RunConfig, mesh: Mapping[str, int], model: nn.Module | None = None) -> Plan:
    """The plan of a config (with model.vocab set) on a mesh of these sizes.

    Raises ConfigError for a parameter that the mesh does not divide, or a pattern without a match.
    """
    model = lm.build(cfg.model, cfg.mesh.exchange) if model is None else model
    boxed = jax.eval_shape(lambda: _init(model, cfg.seed))
    axes = {"params": logical_axes(boxed)}
    params = nn.meta.unbox(boxed)
    adapters = jax.eval_shape(lambda p: _attach(cfg, p), params)
    axes["adapters"] = adapter_axes(flatten(adapters), axes["params"])
    trained = "adapters" if cfg.adapters else "params"

    schedule = schedules.build(cfg.schedule, cfg.steps)
    optimizer = optimizers.build(cfg.optim, schedule, axes[trained], known=[*axes["params"]])
    shapes = jax.eval_shape(lambda p: fresh_state(cfg, optimizer, p), params)
    placed = _state_specs(shapes, axes, mesh)
    rows = tuple(_rows(shapes, placed, axes, optimizer, trained))
    return Plan(cfg, model, optimizer, schedule, shapes, placed, rows)


def fresh_params(plan: Plan, seed: Any = None) -> Any:
    """Parameters drawn from the seed (traceable); `seed`: uint32 [], in place of the config's."""
    return nn.meta.unbox(_init(plan.model, plan.cfg.seed if seed is None else seed))


def fresh_state(cfg: RunConfig, optimizer: Optimizer, params: Any) -> TrainState:
    """The state before the first step, around these parameters (traceable)."""
    adapters = _attach(cfg, params)
    trained = params if adapters is None else adapters
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        adapters=adapters,
        opt_state=optimizer.transform.init(trained),
        ema=None if cfg.ema is None else jax.tree.map(jnp.copy, trained),
        guard=guard.fresh(),
    )


def place_state(plan: Plan, mesh: jax.sharding.Mesh, params: Any = None) -> TrainState:
    """The state before the first step, made on the mesh: no leaf is ever whole on one device.

    Params: already on the mesh and given up here; None: drawn from the seed.
    """
    shardings = plan.shardings(mesh)
    if params is None:
        # The seed is an argument, so that the program is the same for all seeds.
        draw = jax.jit(lambda seed: fresh_params(plan, seed), out_shardings=shardings.params)
        params = draw(np.uint32(plan.cfg.seed))
    around = jax.jit(
        lambda p: fresh_state(plan.cfg, plan.optimizer, p),
        in_shardings=(shardings.params,), out_shardings=shardings, donate_argnums=0,
    )  # fmt: skip
    return around(params)


def adapter_axes(leaves: Mapping[str, Any], base: Mapping[str, Axes]) -> dict[str, Axes]:
    """Adapters are small: replicated, with the stacked axis of the weight that they belong to."""
    found = {}
    for path, leaf in leaves.items():
        site = max((p for p in base if path.startswith(f"{p}/")), key=len, default="")
        stacked = base.get(site, ())[:1] == ("layers",)
        found[path] = (("layers",) if stacked else ()) + (None,) * (len(leaf.shape) - stacked)
    return found


def _init(model: nn.Module, seed: Any) -> Any:
    return model.init(key(seed, INIT), jnp.zeros((1, 8), jnp.int32))["params"]


def _attach(cfg: RunConfig, params: Any) -> Any:
    if not cfg.adapters:
        return None
    return attach(cfg.adapters, params, key(cfg.seed, ADAPTERS))


def _state_specs(shapes: TrainState, axes: Mapping[str, Mapping[str, Axes]], mesh: Any) -> Any:
    """Specs of all leaves; an optimizer's leaf follows the parameter whose path ends its own."""
    dims = {
        tree: {path: tuple(leaf.shape) for path, leaf in flatten(getattr(shapes, tree)).items()}
        for tree in ("params", "adapters")
    }
    found = {tree: specs(dims[tree], axes[tree], mesh) for tree in dims}
    trained = "params" if shapes.adapters is None else "adapters"

    def follow(path: str, leaf: Any) -> PartitionSpec:
        for own, spec in found[trained].items():
            if path.endswith(f"/{own}") and dims[trained][own] == tuple(leaf.shape):
                return spec
        return PartitionSpec()

    return TrainState(
        step=PartitionSpec(),
        params=map_paths(lambda path, leaf: found["params"][path], shapes.params),
        adapters=map_paths(lambda path, leaf: found["adapters"][path], shapes.adapters),
        opt_state=map_paths(follow, shapes.opt_state),
        ema=map_paths(lambda path, leaf: found[trained][path], shapes.ema),
        guard=map_paths(lambda path, leaf: PartitionSpec(), shapes.guard),
    )


def _rows(
    shapes: TrainState, placed: TrainState, axes: Any, optimizer: Optimizer, trained: str
) -> list[table.Row]:
    rows = []
    for tree in ("params", "adapters"):
        split = flatten(getattr(placed, tree))
        groups = optimizer.groups if tree == trained else {}
        for path, leaf in flatten(getattr(shapes, tree)).items():
            rows.append(table.row(path, leaf, axes[tree][path], split[path], groups.get(path)))
    return rows
